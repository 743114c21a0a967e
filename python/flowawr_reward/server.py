"""The server of one or several rewards."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import resource
import secrets
import socket
import threading
import time
from concurrent import futures
from dataclasses import dataclass
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from . import protocol
from .admission import Admission, tls_credentials
from .metrics import Metrics, MetricsPage, ScorerSeries, is_loopback, join_host_port
from .refused import Refused
from .reward import Reward
from .runner import Runner, RunnerOptions
from .service import MAX_CALLS, Service
from .tokens import TokenBook
from .version import VERSION

log = logging.getLogger("flowawr_reward")

_WATCH_S = 0.1
_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@dataclass(frozen=True)
class ServerOptions:
    """What the flags of the same names say; see `--help` of any reward."""

    listen: str = "127.0.0.1:0"
    endpoint_file: str = ""
    metrics: str = "127.0.0.1:0"
    metrics_endpoint_file: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tls_ca: str = ""
    mutual_tls: bool = False
    token_file: str = ""
    actor_token_file: str = ""
    reward_token_file: str = ""
    operator_token_file: str = ""
    read_only_token_file: str = ""
    insecure: bool = False
    threads: int | None = None  #: None: what each reward says
    max_batch: int | None = None  #: None: what each reward says
    max_wait_ms: float = 5
    max_queued: int = 1024
    max_image_side: int = 4096
    max_image_seconds: float = 30
    max_message_mib: int = 64
    max_pending_mib: int = 1024  #: of requests held at once
    grace_s: float = 10  #: for what is under way when the server stops


class Server:
    """Serving when it is made, until stop(). Thread-safe.

    Raises Refused when the options are no good, and whatever a reward's load() raises. Per reward, health is answered
    for the service "flowawr.scorer.NAME".
    """

    def __init__(self, *rewards: Reward, options: ServerOptions | None = None) -> None:
        self._options = options = options or ServerOptions()
        _check_rewards(rewards)
        credentials, tokens = _security(options)
        _lift_file_limit()
        for reward in rewards:
            start = time.monotonic()
            reward.load()
            log.info(
                "loaded reward %s (%s) in %.1f s", reward.name, reward.version or reward.name, time.monotonic() - start
            )
        metrics = Metrics(VERSION)
        self._page = _open_page(metrics, options)
        self._runners = {
            reward.name: Runner(reward, ScorerSeries(metrics, reward.name), _runner_options(reward, options))
            for reward in rewards
        }
        self._service = Service(self._runners, options.max_image_side, options.max_pending_mib << 20)
        self._health = health.HealthServicer()
        self._is_stopped = threading.Event()
        try:
            self._server, self.endpoint = self._listen(credentials, tokens)
        except BaseException:
            self._page.close()
            for runner in self._runners.values():
                runner.stop()
            raise
        self._watcher = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._watch_once()
        self._server.start()
        self._watcher.start()
        _write_file(options.endpoint_file, self.endpoint)
        _write_file(options.metrics_endpoint_file, self._page.endpoint)
        log.info("serving on %s, metrics on http://%s/metrics", self.endpoint, self._page.endpoint)

    @property
    def metrics_endpoint(self) -> str:
        return self._page.endpoint

    def stop(self) -> bool:
        """Takes nothing new, answers what is under way within the grace and gives up the rest. False when some call of
        a reward never returned: its thread still runs. Harmless when repeated."""
        if self._is_stopped.is_set():
            return True
        self._is_stopped.set()
        self._watcher.join()
        self._health.enter_graceful_shutdown()
        self._server.stop(self._options.grace_s).wait()
        are_over = [runner.stop() for runner in self._runners.values()]
        self._page.close()
        return all(are_over) and self._service.is_idle()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _listen(self, credentials: Any, tokens: TokenBook) -> tuple[Any, str]:
        options = self._options
        host, port = parse_host_port(options.listen, "--listen")
        max_bytes = options.max_message_mib << 20
        server = grpc.server(
            futures.ThreadPoolExecutor(MAX_CALLS, thread_name_prefix="call"),
            interceptors=(Admission(tokens),),
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", max_bytes),
                ("grpc.max_send_message_length", max_bytes),
                # A compressed message is bounded by what it becomes only when it has become that: none is taken.
                ("grpc.compression_enabled_algorithms_bitset", 1),
                ("grpc.max_concurrent_streams", 128),  # of one connection
                ("grpc.server_handshake_timeout_ms", 30_000),
                # Two servers on one port would share its connections at random.
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 20_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.http2.max_pings_without_data", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
        )
        self._service.add_to(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        address = join_host_port(host, port)
        try:
            if credentials is None:
                port = server.add_insecure_port(address)
            else:
                port = server.add_secure_port(address, credentials)
        except RuntimeError:
            port = 0
        if port == 0:
            raise _why_not_listening(host, parse_host_port(options.listen, "--listen")[1], "--listen")
        reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        return server, join_host_port(reachable, port)

    def _watch(self) -> None:
        while not self._is_stopped.wait(_WATCH_S):
            self._watch_once()

    def _watch_once(self) -> None:
        are_well = []
        for name, runner in self._runners.items():
            is_well = runner.watch()
            are_well.append(is_well)
            self._health.set(f"flowawr.scorer.{name}", _SERVING if is_well else _NOT_SERVING)
        for service in ("", protocol.SERVICE):
            self._health.set(service, _SERVING if any(are_well) else _NOT_SERVING)


def parse_host_port(text: str, option: str) -> tuple[str, int]:
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.%]+)\]|([^:\[\]/\s]+)):(\d{1,5})", text)
    if not match or int(match[3]) > 65535:
        raise Refused(f'{option}: "{text}" is no HOST:PORT, such as 127.0.0.1:7000; port 0: any free one', 64)
    return match[1] or match[2], int(match[3])


def _check_rewards(rewards: tuple[Reward, ...]) -> None:
    if not rewards:
        raise Refused("there is no reward to serve", 64)
    for reward in rewards:
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", reward.name):
            raise Refused(
                f'{type(reward).__name__}.name is "{reward.name}", expected 1 to 64 letters, digits, "_", "-", "."', 64
            )
        if reward.is_by_image and type(reward).score_one is Reward.score_one:
            raise Refused(f"{type(reward).__name__} gives neither score_one() nor score()", 64)
    names = [reward.name for reward in rewards]
    if twice := {name for name in names if names.count(name) > 1}:
        raise Refused(f"two rewards have the name {twice.pop()}: a run asks for one by its name", 64)


def _security(options: ServerOptions) -> tuple[Any, TokenBook]:
    if bool(options.tls_cert) != bool(options.tls_key):
        raise Refused("--tls-cert and --tls-key go together: give both or none", 64)
    host, _ = parse_host_port(options.listen, "--listen")
    if not is_loopback(host) and not options.tls_cert and not options.insecure:
        raise Refused(
            f"listening on {options.listen} would let others in unencrypted; give --tls-cert and --tls-key, or "
            "--insecure on a network that you trust, or listen on 127.0.0.1",
            77,
        )
    tokens = TokenBook(
        {
            "all": options.token_file,
            "actor": options.actor_token_file,
            "reward": options.reward_token_file,
            "operator": options.operator_token_file,
            "read_only": options.read_only_token_file,
        }
    )
    if not options.tls_cert:
        if options.mutual_tls:
            raise Refused("--mutual-tls needs --tls-cert and --tls-key", 64)
        return None, tokens
    return tls_credentials(options.tls_cert, options.tls_key, options.tls_ca, options.mutual_tls), tokens


def _runner_options(reward: Reward, options: ServerOptions) -> RunnerOptions:
    return RunnerOptions(
        batch=1 if reward.is_by_image else max(options.max_batch or reward.batch, 1),
        threads=max(options.threads or reward.threads, 1),
        wait_s=options.max_wait_ms / 1000,
        max_queued=options.max_queued,
        max_image_s=options.max_image_seconds,
    )


def _open_page(metrics: Metrics, options: ServerOptions) -> MetricsPage:
    host, port = parse_host_port(options.metrics, "--metrics")
    if not is_loopback(host) and not options.insecure:
        raise Refused(
            f"/metrics on {options.metrics} would be readable from outside, unencrypted; listen on 127.0.0.1, or give "
            "--insecure on a network that you trust",
            77,
        )
    try:
        return MetricsPage(metrics, host, port)
    except OSError:
        raise _why_not_listening(host, port, "--metrics") from None


def _why_not_listening(host: str, port: int, option: str) -> Refused:
    """gRPC only says that it could not listen; the system says why."""
    where = f"{option}: cannot listen on {join_host_port(host, port)}"
    try:
        family, kind, protocol_number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol_number) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        return Refused(f"{where}: {error.strerror}; stop what listens there, or choose another port (0: any)", 73)
    return Refused(f"{where}, though the port is free now; try again", 75)


def _lift_file_limit() -> None:
    """A connection is an open file, and the usual limit of 1,024 is one that a process may lift by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _write_file(path: str, line: str) -> None:
    """Appears whole or not at all."""
    if path:
        new = f"{path}.{secrets.token_hex(4)}"
        with open(new, "w") as file:
            file.write(line + "\n")
        os.replace(new, path)
