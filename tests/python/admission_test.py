"""Whom the server lets in, where it listens and how it encrypts: as the C++ servers do."""

import socket
import subprocess
from pathlib import Path

import grpc
import pytest
from conftest import PATIENCE_S, Client, item, pb
from grpc_health.v1 import health_pb2, health_pb2_grpc

from flowawr_reward import Refused, Reward, Server, ServerOptions

TOKEN = "correct-horse-battery-staple"


class Half(Reward):
    name = "half"

    def score_one(self, image, prompt, metadata):
        return 0.5


def code_of(client):
    with pytest.raises(grpc.RpcError) as caught:
        client.score(item())
    return caught.value.code()


def refusal(**options):
    with pytest.raises(Refused) as caught:
        Server(Half(), options=ServerOptions(**options)).stop()
    return caught.value


class Authority:
    """Makes keys and certificates with the openssl command."""

    def __init__(self, folder):
        self.folder = folder

    def make(self, name, *more):
        key, cert = self.folder / f"{name}-key.pem", self.folder / f"{name}-cert.pem"
        arguments = [
            "openssl",
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-days",
            "2",
        ]
        names = ["-subj", f"/CN={name}", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
        protection = [] if "-passout" in more else ["-nodes"]
        command = [*arguments, *protection, *names, "-keyout", str(key), "-out", str(cert), *more]
        subprocess.run(command, check=True, capture_output=True)
        return {"tls_key": str(key), "tls_cert": str(cert)}


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path)


@pytest.fixture
def token_file(tmp_path):
    path = tmp_path / "token"
    path.write_text(f"  {TOKEN}\n")
    return str(path)


def test_a_call_without_the_token_is_refused(serve, token_file, caplog):
    endpoint = serve(Half(), token_file=token_file).server.endpoint
    assert code_of(Client(endpoint, "half")) == grpc.StatusCode.UNAUTHENTICATED
    wrong = Client(endpoint, "half", metadata=[("authorization", f"Bearer {TOKEN}r")])
    assert code_of(wrong) == grpc.StatusCode.UNAUTHENTICATED
    right = Client(endpoint, "half", metadata=[("authorization", f"Bearer {TOKEN}")])
    assert right.score(item())[0].reward == 0.5
    health = health_pb2_grpc.HealthStub(wrong.channel)
    with pytest.raises(grpc.RpcError) as caught:
        health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S)
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.RpcError) as caught:
        next(health.Watch(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S))
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("text", "message"), [("short", "has 5 characters"), ("two words of it all", "one word"), ("", "has 0")]
)
def test_a_token_that_is_no_good_is_refused_and_not_shown(tmp_path, text, message):
    (tmp_path / "token").write_text(text)
    refused = refusal(token_file=str(tmp_path / "token"))
    assert message in str(refused)
    assert not text or text not in str(refused)
    assert refused.exit_code == 78
    assert refusal(token_file=str(tmp_path / "absent")).exit_code == 66


def test_a_call_for_another_process_is_refused(serve):
    endpoint = serve(Half()).server.endpoint
    assert (
        code_of(Client(endpoint, "half", metadata=[("flowawr-for", "process 123")]))
        == grpc.StatusCode.FAILED_PRECONDITION
    )


def test_encrypts(serve, authority):
    files = authority.make("server")
    endpoint = serve(Half(), tls_ca=files["tls_cert"], **files).server.endpoint
    with open(files["tls_cert"], "rb") as file:
        credentials = grpc.ssl_channel_credentials(file.read())
    assert Client(endpoint, "half", credentials).score(item())[0].reward == 0.5
    assert code_of(Client(endpoint, "half")) == grpc.StatusCode.UNAVAILABLE


def test_files_that_no_client_would_take_are_refused(authority, tmp_path):
    one, other = authority.make("one"), authority.make("other")
    assert "do not belong together" in str(refusal(tls_cert=one["tls_cert"], tls_key=other["tls_key"]))
    assert "no client would take" in str(refusal(tls_ca=other["tls_cert"], **one))
    assert "passphrase" in str(refusal(**authority.make("locked", "-passout", "pass:secret")))
    text = tmp_path / "text.pem"
    text.write_text("no certificate")
    assert "are no good" in str(refusal(tls_cert=str(text), tls_key=one["tls_key"]))
    assert "--tls-ca" in str(refusal(tls_ca=str(text), **one))
    assert refusal(tls_cert=one["tls_cert"], tls_key=str(tmp_path / "absent")).exit_code == 66
    assert "go together" in str(refusal(tls_cert=one["tls_cert"]))


def test_a_certificate_past_its_time_is_refused(authority, tmp_path):
    files = authority.make("old")
    sign = ["openssl", "x509", "-in", files["tls_cert"], "-signkey", files["tls_key"], "-out", files["tls_cert"]]
    subprocess.run([*sign, "-days", "-1"], check=True, capture_output=True)
    assert "certificate has expired" in str(refusal(**files))


def test_outside_loopback_it_listens_only_encrypted_or_when_told_that_the_network_is_safe(serve, authority):
    refused = refusal(listen="0.0.0.0:0")
    assert refused.exit_code == 77 and "--insecure" in str(refused)
    assert refusal(metrics="0.0.0.0:0").exit_code == 77
    assert serve(Half(), listen="0.0.0.0:0", insecure=True).score(item())[0].reward == 0.5
    assert serve(Half(), listen="0.0.0.0:0", **authority.make("server")).server.endpoint.startswith("127.0.0.1:")
    assert serve(Half(), listen="localhost:0", metrics="localhost:0").score(item())[0].reward == 0.5


def test_a_taken_address_is_told(serve):
    endpoint = serve(Half()).server.endpoint
    for option in ("listen", "metrics"):
        refused = refusal(**{option: endpoint})
        assert refused.exit_code == 73
        assert f"--{option}: cannot listen on {endpoint}: Address already in use" in str(refused)


@pytest.mark.parametrize("address", ["7000", "host:", ":7000", "a:b", "127.0.0.1:70000", "http://a:1"])
def test_what_is_no_address_is_refused(address):
    assert refusal(listen=address).exit_code == 64


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_listens_on_ipv6(serve):
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    client = serve(Half(), listen="[::1]:0", metrics="[::1]:0")
    assert client.score(item())[0].reward == 0.5
    assert client.server.metrics_endpoint.startswith("[::1]:")


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ö"])
def test_a_name_that_is_none_is_refused(name):
    reward = Half()
    reward.name = name
    with pytest.raises(Refused, match="letters, digits"):
        Server(reward)


def test_rewards_that_cannot_be_told_apart_or_give_nothing_are_refused():
    with pytest.raises(Refused, match="two rewards have the name half"):
        Server(Half(), Half())
    with pytest.raises(Refused, match="no reward"):
        Server()

    class Idle(Reward):
        name = "idle"

    with pytest.raises(Refused, match="neither score_one"):
        Server(Idle())


# What each role's token may do here, said in another way than the package does.
ALLOWED = {"all": "SCH", "actor": "SCH", "reward": "SCH", "operator": "SCH", "read_only": "C"}


def test_every_role_may_do_its_own_and_nothing_else(serve, tmp_path):
    tokens = {role: f"the-token-of-{role}-here" for role in ALLOWED}
    for role, token in tokens.items():
        (tmp_path / role).write_text(token)
    files = {"token_file" if role == "all" else f"{role}_token_file": str(tmp_path / role) for role in tokens}
    endpoint = serve(Half(), **files).server.endpoint
    for role, token in tokens.items():
        client = Client(endpoint, "half", metadata=[("authorization", f"Bearer {token}")])
        health = health_pb2_grpc.HealthStub(client.channel)
        health.Check(health_pb2.HealthCheckRequest(), timeout=PATIENCE_S, metadata=client.metadata)
        assert client.info().name == "half"
        if role == "read_only":
            with pytest.raises(grpc.RpcError) as caught:
                client.score(item())
            assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
            assert "the token is for looking only; Score needs" in caught.value.details()
        else:
            assert client.score(item())[0].reward == 0.5


def test_every_method_has_its_row():
    from flowawr_reward import tokens

    methods = pb.DESCRIPTOR.services_by_name["RewardService"].methods_by_name
    assert len(methods) >= 6
    assert {f"/flowawr.v1.RewardService/{name}" for name in methods} == {
        method for method in tokens._METHODS if "RewardService" in method
    }


def test_one_token_for_two_roles_is_refused(tmp_path, token_file):
    (tmp_path / "other").write_text(TOKEN)
    refused = refusal(token_file=token_file, actor_token_file=str(tmp_path / "other"))
    assert "hold the same token" in str(refused) and TOKEN not in str(refused)


def test_a_token_is_replaced_while_it_serves(serve, tmp_path, token_file):
    endpoint = serve(Half(), token_file=token_file).server.endpoint
    new = Client(endpoint, "half", metadata=[("authorization", "Bearer another-token-now")])
    assert code_of(new) == grpc.StatusCode.UNAUTHENTICATED
    (tmp_path / "token").write_text("half")
    assert code_of(new) == grpc.StatusCode.UNAUTHENTICATED
    (tmp_path / "token").write_text("another-token-now\n")
    assert new.score(item())[0].reward == 0.5
    old = Client(endpoint, "half", metadata=[("authorization", f"Bearer {TOKEN}")])
    assert old.score(item())[0].reward == 0.5, "for a minute"


def test_a_removed_token_is_forgotten_after_its_grace(tmp_path):
    from flowawr_reward.tokens import GRACE_S, TokenBook

    now = [0.0]
    (tmp_path / "token").write_text(TOKEN)
    book = TokenBook({"all": str(tmp_path / "token")}, now=lambda: now[0])
    assert book.role_of(TOKEN.encode()) == "all"
    (tmp_path / "token").write_text("another-token-now")
    now[0] = 2.0
    assert book.role_of(TOKEN.encode()) == "all"
    now[0] += GRACE_S
    assert book.role_of(TOKEN.encode()) is None
    assert book.role_of(b"another-token-now") == "all"


def test_a_certificate_is_replaced_while_it_serves(serve, authority):
    files, other = authority.make("server"), authority.make("other")
    endpoint = serve(Half(), **files).server.endpoint

    def score(trusted):
        with open(trusted, "rb") as file:
            return Client(endpoint, "half", grpc.ssl_channel_credentials(file.read())).score(item())[0].reward

    own = files["tls_cert"] + ".own"
    Path(own).write_bytes(Path(files["tls_cert"]).read_bytes())
    assert score(own) == 0.5
    Path(files["tls_cert"]).write_bytes(Path(other["tls_cert"]).read_bytes())  # beside the key of the first
    assert score(own) == 0.5
    Path(files["tls_key"]).write_bytes(Path(other["tls_key"]).read_bytes())
    assert score(other["tls_cert"]) == 0.5


def test_mutual_tls_keeps_clients_without_a_certificate_out(serve, authority):
    files = authority.make("server")  # its own authority
    endpoint = serve(Half(), tls_ca=files["tls_cert"], mutual_tls=True, **files).server.endpoint
    cert, key = (Path(files[name]).read_bytes() for name in ("tls_cert", "tls_key"))
    assert Client(endpoint, "half", grpc.ssl_channel_credentials(cert, key, cert)).score(item())[0].reward == 0.5
    assert code_of(Client(endpoint, "half", grpc.ssl_channel_credentials(cert))) == grpc.StatusCode.UNAVAILABLE
    assert refusal(mutual_tls=True).exit_code == 64
