"""deploy/compose and docker/ fit the programs, one another and the scripts; for the engine itself there is
scripts/test-containers."""
import os
import pathlib
import re
import subprocess

import pytest
import yaml

import programs
from manifests import ROOT

COMPOSE = ROOT / "deploy/compose"
DOCKERFILE = (ROOT / "docker/Dockerfile").read_text()


class Loader(yaml.SafeLoader):
    """Knows compose's !reset and !override, which say how files are merged."""


def _plain(loader, _, node):
    return {yaml.MappingNode: loader.construct_mapping, yaml.SequenceNode: loader.construct_sequence,
            yaml.ScalarNode: loader.construct_scalar}[type(node)](node)


Loader.add_multi_constructor("!", _plain)


def read(name):
    return yaml.load((COMPOSE / name).read_text(), Loader)


SERVICES = read("compose.yaml")["services"]
RANKS = read("compose.ranks.yaml")
RANK = RANKS["services"]["rank-1"]
ROLES = {"learner": "learner", "actor": "actor", "reward-a": "reward", "reward-b": "reward"}


def command_line(service, key="command"):
    words = SERVICES[service][key] if key == "command" else SERVICES[service]["healthcheck"]["test"][1:]
    return [str(word) for word in words]


def option(words, name):
    return next(word.partition("=")[2] for word in words if word.startswith(name + "="))


def port_of(address):
    return int(address.rsplit(":", 1)[1])


@pytest.mark.parametrize("service", ROLES)
def test_programs_know_their_command_lines(service):
    assert not programs.mistakes(command_line(service))
    assert not programs.mistakes(command_line(service, "health"))


@pytest.mark.parametrize("service", ROLES)
def test_health_asks_where_the_process_listens(service):
    asked = command_line(service, "health")
    listens = command_line(service)
    flag = "--metrics" if service == "actor" else "--address"
    served = "--metrics" if service == "actor" else "--listen"
    assert port_of(option(asked, flag)) == port_of(option(listens, served))


def test_prometheus_asks_where_processes_show_their_metrics():
    scraped = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())["scrape_configs"]
    found = {}
    for job in scraped:
        for static in job.get("static_configs", []):
            found |= {target.split(":")[0]: port_of(target) for target in static["targets"]}
        for dns in job.get("dns_sd_configs", []):
            found |= {name: dns["port"] for name in dns["names"]}
    (alias,) = RANK["networks"]["default"]["aliases"]
    ranks = {alias: port_of(option(RANK["command"], "--metrics"))}
    assert found == ranks | {service: port_of(option(command_line(service), "--metrics")) for service in ROLES}
    mounted = {volume.split(":")[0] for volume in SERVICES["prometheus"]["volumes"]}
    secret = {job["authorization"]["credentials_file"] for job in scraped}
    assert secret == {"/run/secrets/metrics_token"} and "secrets-prometheus" in mounted


def test_every_mounted_file_is_there():
    for name in (path.name for path in COMPOSE.glob("compose*.yaml")):
        for service, parts in read(name)["services"].items():
            for volume in parts.get("volumes") or []:
                source = re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", volume).split(":")[0]
                assert not source.startswith(".") or (COMPOSE / source).exists(), f"{name}: {service}: {source}"


def test_processes_are_confined():
    for service in (*ROLES, "secrets"):
        parts = SERVICES[service]
        assert parts["read_only"] and parts["cap_drop"] == ["ALL"]
        assert "no-new-privileges:true" in parts["security_opt"]
    for parts in SERVICES.values():
        for port in parts.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{port} is open to the network"


def test_every_variable_has_a_line_in_env():
    told = dict(line.split("=", 1) for line in (COMPOSE / ".env").read_text().splitlines() if re.match(r"\w+=", line))
    text = "".join(path.read_text() for path in COMPOSE.glob("compose*.yaml"))
    used = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    for secret in ("GRAFANA_PASSWORD", "FLOWAWR_SECRETS"):  # from the environment
        used.pop(secret)
    assert used == told


def test_a_rank_is_a_learner_that_holds_nothing_and_shows_itself_to_prometheus_alone():
    assert RANK["extends"] == {"file": "compose.yaml", "service": "learner"}  # confined as that one is
    assert RANK["build"] == {} and RANK["ports"] == []
    assert not programs.mistakes(RANK["command"]) and not programs.mistakes(RANK["healthcheck"]["test"][1:])
    assert port_of(option(RANK["healthcheck"]["test"], "--metrics")) == port_of(option(RANK["command"], "--metrics"))
    shared = {volume for volume in SERVICES["learner"]["volumes"] if "run.yaml" not in volume} - {"runs:/runs"}
    assert shared < set(RANK["volumes"]) and not [volume for volume in RANK["volumes"] if volume.startswith("runs:")]
    configs = {volume for service in RANKS["services"].values()
               for volume in service["volumes"] if "run.yaml" in volume}
    assert len(configs) == 1, "all ranks have one configuration"


def test_ranks_meet_on_a_network_of_their_own():
    assert RANKS["networks"] == {"ranks": {"internal": True}}
    assert not [name for name, service in SERVICES.items() if "ranks" in (service.get("networks") or {})]
    learner = RANKS["services"]["learner"]
    assert {name for name, service in RANKS["services"].items()
            if "ranks" in service["networks"]} == {"learner", "rank-1"}
    assert learner["networks"]["ranks"]["aliases"] == [RANK["environment"]["MASTER_ADDR"]]
    assert learner["environment"]["WORLD_SIZE"] == RANK["environment"]["WORLD_SIZE"]
    run, of_ranks = (yaml.safe_load((COMPOSE / name).read_text()) for name in ("run.yaml", "run-ranks.yaml"))
    # Bound by the name that only their network knows, so that nobody else reaches the port.
    assert of_ranks["network"].pop("ranks_listen").split(":")[0] == RANK["environment"]["MASTER_ADDR"]
    assert of_ranks["train"].pop("rank_transport") == "gloo", "NCCL might take the other network"
    assert of_ranks["network"].pop("insecure") is True and of_ranks == run


def test_whoever_computes_is_given_a_gpu_and_the_image_for_it():
    found = {}
    for name in ("compose.cuda.yaml", "compose.ranks.cuda.yaml"):
        for service, parts in read(name)["services"].items():
            assert parts["image"] == "${FLOWAWR_CUDA_IMAGE:-flowawr:cuda}", service
            for device in parts.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", []):
                assert set(device["capabilities"]) == {"gpu", "compute", "utility"}, "CUDA, and NVML for the metrics"
                found[service] = device["device_ids"]
    assert found.keys() == {*ROLES, "rank-1"} and all(len(devices) == 1 for devices in found.values())
    arguments = read("compose.cuda.yaml")["services"]["learner"]["build"]["args"]
    assert {f"ARG {name}=" for name in arguments} <= set(DOCKERFILE.splitlines())


WITH_PROGRAMS = {**os.environ, "PATH": f"{programs.BUILD}/bin:{os.environ['PATH']}"}


def make_secrets(folder, *more):
    for role in ("learner", "actor", "reward", "prometheus"):
        (folder / role).mkdir(exist_ok=True)
    script = (COMPOSE / "make-secrets.sh").read_text()
    if os.getuid() != 0:
        script = re.sub(r"^ *chown .*$", "", script, flags=re.M)
    done = subprocess.run(["sh", "-c", script, "make-secrets.sh", str(folder), *more], env=WITH_PROGRAMS,
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_secrets_are_made_once_for_those_who_need_them(tmp_path):
    make_secrets(tmp_path)
    files = {role: {path.name for path in (tmp_path / role).iterdir()}
             for role in ("learner", "actor", "reward", "prometheus")}
    assert "token" not in files["actor"] and "operator-token" not in files["actor"], "an actor holds others' tokens"
    assert files["prometheus"] == {"ca.pem", "metrics_token"}
    assert not list(tmp_path.rglob("ca-key.pem")), "the authority's key is left behind"
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    script = COMPOSE / "make-secrets.sh"
    subprocess.run(["sh", script, tmp_path], env=WITH_PROGRAMS, check=True, timeout=60)
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    # What a role's configuration names is what its folder, and the file with people's own secrets, holds.
    own = read("compose.secrets.yaml")["services"]
    for service, role in ROLES.items():
        config = {"learner": "run.yaml", "actor": "network/actor.yaml", "reward": "network/reward-server.yaml"}[role]
        named = {pathlib.PurePath(value).name for value in read(config)["network"].values()
                 if str(value).startswith("/run/secrets/")}
        assert named == files[role], role
        assert own[service]["secrets"] == [{"source": role, "target": "/run/secrets"}], service
    tokens = {(tmp_path / "learner" / name).read_text() for name in files["learner"] if "token" in name}
    assert len(tokens) == 4


def test_certificates_are_for_the_names_in_composes_network(tmp_path):
    make_secrets(tmp_path)
    for service, role in ROLES.items():
        for name in (service, "localhost"):
            subprocess.run(["openssl", "verify", "-CAfile", tmp_path / role / "ca.pem", "-purpose", "sslserver",
                            "-verify_hostname", name, tmp_path / role / "server.pem"], check=True, capture_output=True)


@pytest.mark.parametrize("name", ["run.yaml", "run-ranks.yaml"])
def test_the_runs_configuration_is_one(name, tmp_path):
    make_secrets(tmp_path)
    text = (COMPOSE / name).read_text()
    file = tmp_path / "run.yaml"
    file.write_text(text)
    done = subprocess.run([programs.path("flowawr"), "config", file], capture_output=True, text=True, cwd=ROOT,
                          timeout=60)
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(text)["network"]["learner_listen"].rsplit(":", 1)[1] == "50051"


@pytest.mark.parametrize("config", ["run.yaml", "network/actor.yaml", "network/reward-server.yaml"])
def test_processes_understand_their_network_settings(config, tmp_path):
    make_secrets(tmp_path)
    role = {"run.yaml": "learner", "network/actor.yaml": "actor"}.get(config, "reward")
    file = tmp_path / "network.yaml"
    file.write_text((COMPOSE / config).read_text().replace("/run/secrets/", f"{tmp_path}/{role}/"))
    # Nobody listens on the discard port: what is complained about is that, and no setting.
    done = subprocess.run([programs.path("flowawr"), "health", "--address=127.0.0.1:9", f"--network-config={file}"],
                          capture_output=True, text=True, timeout=60)
    assert done.returncode == 69, done.stderr


def test_health_gives_up_before_it_is_given_up():
    own = float(re.findall(r"--timeout SECONDS.*=([\d.]+)", programs.help_of("flowawr", "health"))[0])
    limits = [parts["healthcheck"]["timeout"]
              for parts in SERVICES.values() if "timeout" in parts.get("healthcheck", {})]
    limits += re.findall(r"HEALTHCHECK .*--timeout=(\S+)", DOCKERFILE)
    assert len(limits) == 5  # a rank has the learner's
    is_patient = all(own + 5 < float(limit.removesuffix("s")) for limit in limits)
    assert is_patient, "starting the program takes seconds on a busy machine"


def test_secrets_are_renewed_in_place(tmp_path):
    make_secrets(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    make_secrets(tmp_path, "--renew")
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert before.keys() == after.keys() and not [path for path in before if before[path] == after[path]]


def test_the_dockerfile_takes_what_there_is_and_no_second_list():
    for source in re.findall(r"^COPY (?!--from|\. )(\S+)", DOCKERFILE, flags=re.M):
        assert (ROOT / source).exists(), source
    assert "scripts/setup --yes" in DOCKERFILE
    for package in re.findall(r"apt-get install ([^&]*)", DOCKERFILE)[0].split():
        is_known = package.startswith("-") or package in ("tini", "/packages/*.deb")
        assert is_known, f"{package} belongs into the package's dependencies"
    for port in re.findall(r"EXPOSE (.*)", DOCKERFILE)[0].split():
        assert port in (COMPOSE / "compose.yaml").read_text()
    assert not programs.mistakes(re.findall(r"exec (flowawr [a-z]+)", DOCKERFILE)[0].split())


def test_hadolint_finds_nothing():
    lint = ROOT / ".venv/bin/hadolint"
    assert lint.exists(), "run scripts/setup --tests"
    done = subprocess.run([lint, ROOT / "docker/Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


def test_build_contexts_leave_builds_and_history_out():
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".git", "build", ".venv", "runs"} <= set(ignored)
