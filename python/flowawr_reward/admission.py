"""Whom a server lets in, and how it encrypts: the rules of the C++ servers (common/rpc)."""

from __future__ import annotations

import contextlib
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any

import grpc

from .refused import Refused, read_option_file
from .tokens import FileStamps, TokenBook, why_not

log = logging.getLogger("flowawr_reward")

_PEER_HEADER = "flowawr-for"  # common/rpc/peer.h
_MAX_FILE_BYTES = 1 << 20


def _read(path: str, option: str) -> bytes:
    return read_option_file(path, option, _MAX_FILE_BYTES)


def _no_passphrase() -> str:
    raise Refused("--tls-key is encrypted, and nobody is there to be asked for its passphrase; write it in clear")


def _shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """In memory. ssl.SSLError when the client does not take the server's certificate."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(4):
        for side in sides:
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()


def _read_tls(cert: str, key: str, authority: str, is_mutual: bool) -> Any:
    key_pem, cert_pem = _read(key, "--tls-key"), _read(cert, "--tls-cert")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        server.load_cert_chain(cert, key, _no_passphrase)
    except ssl.SSLError as error:
        why = "do not belong together" if error.reason == "KEY_VALUES_MISMATCH" else f"are no good: {error.reason}"
        raise Refused(f"--tls-cert {cert} and --tls-key {key} {why}") from None
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    if not authority:
        client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    _read(authority or cert, "--tls-ca")
    try:
        client.load_verify_locations(authority or cert)
        _shake_hands(server, client)
    except ssl.SSLCertVerificationError as error:
        raise Refused(f"--tls-cert: no client would take {cert}: {error.verify_message}") from None
    except ssl.SSLError as error:
        raise Refused(f"--tls-ca {authority or cert} and --tls-cert {cert} do not fit: {error.reason}") from None
    roots = _read(authority, "--tls-ca") if is_mutual else None
    return grpc.ssl_server_certificate_configuration([(key_pem, cert_pem)], roots)


def tls_credentials(cert: str, key: str, authority: str = "", is_mutual: bool = False) -> Any:
    """Of gRPC. Refused when a file is missing or no PEM, key and certificate do not belong together, the key is
    encrypted, the certificate is past its time, or, with `authority`, the clients' tls_ca, of another authority: gRPC
    itself would answer that with handshakes that fail. With `is_mutual` clients must show a certificate that
    `authority` vouches for. Files that are replaced serve new connections; what is no good changes nothing."""
    if is_mutual and not authority:
        raise Refused("--mutual-tls needs --tls-ca, to know clients by", 64)
    stamps = FileStamps([path for path in (cert, key, authority) if path])
    stamps.look()
    problems: list[str] = []

    def fetch() -> Any:
        if not stamps.look():
            return None
        try:
            return _read_tls(cert, key, authority, is_mutual)
        except (Refused, OSError, ValueError) as refused:
            if problems[-1:] != [str(refused)]:
                log.warning("TLS files stay as they were: %s", refused)
                problems[:] = [str(refused)]
            return None

    return grpc.dynamic_ssl_server_credentials(_read_tls(cert, key, authority, is_mutual), fetch, is_mutual)


class Admission(grpc.ServerInterceptor):  # type: ignore[misc]
    """Refuses calls of every service, before any handler sees them: UNAUTHENTICATED without a token (compared in
    constant time, never logged), PERMISSION_DENIED when its role may not call that, FAILED_PRECONDITION when they are
    meant for another process."""

    def __init__(self, tokens: TokenBook) -> None:
        self._tokens = tokens

    def intercept_service(self, continuation: Callable[[Any], Any], details: Any) -> Any:
        why = self._why_refused(details.method, details.invocation_metadata)
        if why is None:
            return continuation(details)
        code, message = why

        def refuse(_: Any, context: Any) -> None:
            context.abort(code, message)

        # Of streams: it is answered without waiting for a message.
        return grpc.stream_stream_rpc_method_handler(refuse)

    def _why_refused(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> tuple[Any, str] | None:
        headers = {key: value.encode() if isinstance(value, str) else value for key, value in metadata}
        if not self._tokens.is_open:
            given = headers.get("authorization")
            if given is None:
                message = "this server wants a token; set network.token_file to the file that it uses"
                return grpc.StatusCode.UNAUTHENTICATED, message
            scheme, _, token = given.partition(b" ")
            role = self._tokens.role_of(token) if scheme == b"Bearer" else None
            if role is None:
                message = "the token is wrong; use the network.token_file that this server uses"
                return grpc.StatusCode.UNAUTHENTICATED, message
            if why := why_not(role, method):
                return grpc.StatusCode.PERMISSION_DENIED, why
        if _PEER_HEADER in headers:
            message = "another process listens here than the one that was asked for"
            return grpc.StatusCode.FAILED_PRECONDITION, message
        return None
