"""Scenarios of containers, with a real engine. scripts/test-containers runs this."""

import argparse
import functools
import json
import pathlib
import random
import re
import signal
import sys
import tempfile
import time

from tests.containers import engine
from tests.containers.deployment import Deployment
from tests.containers.engine import ROOT, docker, run

IMAGE = "flowawr:test"
SCENARIOS = {}


def scenario(function):
    SCENARIOS[function.__name__.replace("_", "-")] = function
    return function


def say(text: str) -> None:
    print(text, flush=True)


class Tests:
    def __init__(self, arguments):
        self.kills = arguments.kills
        self._end = arguments.end.split(":") if arguments.end else None
        self.random = random.Random(arguments.seed)
        self.is_of_package = arguments.package is not None
        self._folder = tempfile.TemporaryDirectory()
        self.settings = {"FLOWAWR_IMAGE": IMAGE, "FLOWAWR_CONFIG": self._small("run.yaml"),
                         "FLOWAWR_RANKS_CONFIG": self._small("run-ranks.yaml")}
        pathlib.Path(self._folder.name).chmod(0o755)

    def _small(self, shipped: str) -> str:
        """A file of the tests' own run with the network of a configuration of deploy/compose: its TLS and tokens."""
        file = pathlib.Path(self._folder.name) / shipped
        network = (ROOT / "deploy/compose" / shipped).read_text()
        file.write_text((ROOT / "tests/containers/run.yaml").read_text() + network[network.index("\nnetwork:"):])
        file.chmod(0o644)
        return str(file)

    def third_rank(self) -> str:
        """The file that the head of compose.ranks.yaml has people write."""
        shipped = ROOT / "deploy/compose/compose.ranks.yaml"
        example = shipped.read_text().partition("#   services:\n")[2].partition("\n#\n")[0]
        file = pathlib.Path(self._folder.name) / "third.yaml"
        services = "\n".join(line.removeprefix("#   ") for line in example.splitlines())
        file.write_text("services:\n" + services.replace(shipped.name, str(shipped)))
        return str(file)

    def deployment(self, name: str, files=("compose.yaml",), **settings) -> Deployment:
        return Deployment(name, {**self.settings, **settings}, files)

    @functools.cached_property
    def undisturbed(self) -> tuple[str, int]:
        """Of a run that nobody disturbed: the adapter's digest and the samples that it was trained on."""
        if self._end:
            return self._end[0], int(self._end[1])
        with self.deployment("undisturbed") as it:
            it.up("learner", "actor", "reward-a", "reward-b")
            return it.await_end()

    def expect_the_same(self, it: Deployment) -> None:
        end = it.await_end()
        assert end == self.undisturbed, (
            f"another adapter, or other samples, than of the undisturbed run: {end}, {self.undisturbed}")


def inside(*command, **options) -> str:
    return docker("run", "--rm", "--read-only", "--entrypoint", "", IMAGE, *command, **options)


@scenario
def image(tests: Tests) -> None:
    """What the image holds: all roles, no compiler, no root, a size."""
    described = json.loads(docker("image", "inspect", IMAGE))[0]
    say(f"  size {described['Size'] / 1e6:.0f} MB")
    assert described["Config"]["User"] == "10001:10001" and described["Config"]["Healthcheck"]
    for program in ("flowawr", "flowawr-learner", "flowawr-actor", "flowawr-reward-server"):
        say(f"  {program} {inside(program, '--version')}")
    for absent in ("cc", "gcc", "g++", "ld", "as", "cmake", "python3", "pip", "git"):
        assert not inside("sh", "-c", f"command -v {absent} || true"), f"{absent} is in the image"
    if not tests.is_of_package:
        packages = json.loads(inside("cat", "/usr/share/flowawr/sbom.spdx.json"))["packages"]
        names = {package["name"] for package in packages}
        installed = set(inside("dpkg-query", "-W", "-f", "${Package}\n").split())
        assert installed | {"torch"} <= names, f"not in the SBOM: {installed - names}"
    is_cpu = "torch_cuda" not in inside("ls", "/usr/lib/flowawr/torch/lib")
    assert not is_cpu or described["Size"] < 1e9, "a CPU image is to stay under 1 GB"
    inside("sh", "-c", "! touch /nowhere 2>/dev/null")


@scenario
def one_container(_: Tests) -> None:
    """`flowawr run` in one container: PID 1 hands SIGTERM on, the run is saved, nothing is left unreaped."""
    name = "flowawr-test-one"
    run("docker", "rm", "-f", name, check=False)
    try:
        docker("run", "-d", "--name", name, "--read-only", "--tmpfs", "/tmp", IMAGE, "flowawr", "run",
               "configs/tiny-ocr.yaml", "--set", "evaluation.final_prompts=2")
        limit = time.monotonic() + 300
        while "update 2 " not in docker("logs", name) + run("docker", "logs", name).stderr:
            assert time.monotonic() < limit, run("docker", "logs", name).stdout
            time.sleep(0.2)
        docker("exec", name, "sh", "-c", "(sleep 0.1 & exec sleep 0.01) & wait")  # an orphan, for PID 1
        time.sleep(1)
        states = docker("exec", name, "sh", "-c", "grep -h ^State: /proc/[0-9]*/status")
        assert "Z" not in states.replace("State:", ""), states
        docker("stop", "--time", "60", name)
        code = docker("inspect", "-f", "{{.State.ExitCode}}", name)
        assert code == "130", f"exit code {code}\n{docker('logs', name)}"
        assert "saved" in run("docker", "logs", name).stdout + run("docker", "logs", name).stderr
    finally:
        run("docker", "rm", "-f", "-v", name, check=False)


@scenario
def first_update(tests: Tests) -> None:
    """Everything with one command, as shipped; how long until the first update; who is scraped."""
    with tests.deployment("first-update", FLOWAWR_CONFIG=str(ROOT / "deploy/compose/run.yaml")) as it:
        begin = time.monotonic()
        it.up()
        it.await_update(1)
        took = time.monotonic() - begin
        say(f"  up to the first update: {took:.1f} s")
        assert took < 60
        it.compose("up", "--detach", "--no-recreate", "--wait")
        it.await_that("five targets are up", lambda: list(it.scraped().values()) == ["1"] * 5)
        say(f"  scraped: {', '.join(sorted(it.scraped()))}")


@scenario
def train(tests: Tests) -> None:
    """From `up` to the end, undisturbed; every role ends as it should."""
    digest, samples = tests.undisturbed
    say(f"  adapter and samples: {digest}:{samples}")


@scenario
def any_order(tests: Tests) -> None:
    """Actors, then the learner, then the reward server, each alone for a while."""
    with tests.deployment("order") as it:
        it.up("actor")
        it.await_that("an actor waits", lambda: "waiting for the learner" in it.compose("logs", "actor"))
        it.up("learner")
        it.await_that("leases", lambda: it.status().get("open_leases", 0) > 0)
        it.up("reward-a")
        tests.expect_the_same(it)


@scenario
def scale(tests: Tests) -> None:
    """Actors up to four and down to one while it trains."""
    with tests.deployment("scale") as it:
        it.up("learner", "actor", "reward-a")
        it.await_update(3)
        it.up("learner", "actor", "reward-a", scale=4)
        assert len(it.containers("actor")) == 4
        it.await_update(15)
        it.up("learner", "actor", "reward-a", scale=1)
        assert len(it.containers("actor")) == 1
        tests.expect_the_same(it)


@scenario
def kills(tests: Tests) -> None:
    """SIGKILL to random processes at random instants, in as many runs as it takes; each ends with the same bits."""
    services = ("learner", "actor", "reward-a", "reward-b")
    killed = dict.fromkeys(services, 0)
    while sum(killed.values()) < tests.kills:
        with tests.deployment("kills") as it:
            it.up(*services)
            it.await_update(1)
            while sum(killed.values()) < tests.kills and not it.is_finished():
                service = tests.random.choice(services)
                killed[service] += it.crash(service, tests.random.randrange(2) if service == "actor" else 0)
                time.sleep(tests.random.uniform(0.2, 4))  # longer on average than it takes to start
            tests.expect_the_same(it)
            say(f"  killed so far: {killed}")


@scenario
def ranks(tests: Tests) -> None:
    """A learner of three ranks, the second killed and then cut off while it trains: the bytes of one rank."""
    with tests.deployment("ranks", ("compose.yaml", "compose.ranks.yaml", tests.third_rank()), FLOWAWR_RANKS="3") as it:
        def losses() -> int:
            return len(re.findall(r"rank 1 at \S+ is lost", it.compose("logs", "--no-color", "learner")))

        def joinings(rank: int = 1) -> int:
            return it.compose("logs", "--no-color", "learner").count(f"rank {rank} has joined")

        it.up("learner", "rank-1", "rank-2", "reward-a", "prometheus")
        it.await_that("the ranks join", lambda: joinings(1) and joinings(2))
        it.await_that("the ranks are scraped",
                      lambda: [up for name, up in it.scraped().items() if "rank" in name] == ["1", "1"])
        it.up("actor")
        actor, rank = it.containers("actor")[0], it.containers("rank-1")[0]
        found = docker("exec", actor, "sh", "-c", "getent hosts rank-0 || true")
        assert not found, "an actor is on the network of the ranks"
        assert run("docker", "exec", actor, "bash", "-c", ": </dev/tcp/learner/29400", check=False).returncode != 0
        it.await_update(2)
        lost, joined = losses(), joinings()
        assert it.crash("rank-1")
        it.await_that("its loss is seen", lambda: losses() > lost)
        it.flowawr("pause", "/runs/demo")  # lest it ends meanwhile
        it.await_that("it is back", lambda: joinings() > joined)
        assert it.containers("rank-1") == [rank], "the engine starts it again, nobody else"
        it.flowawr("resume", "/runs/demo")
        at = it.updates()[-1]
        it.await_update(at + 2)
        lost, joined = losses(), joinings()
        docker("network", "disconnect", f"{it.project}_ranks", rank)
        it.await_that("its silence is seen", lambda: losses() > lost)
        it.await_update(at + 5)  # by the others
        it.flowawr("pause", "/runs/demo")
        docker("network", "connect", f"{it.project}_ranks", rank)
        it.await_that("it joins again", lambda: joinings() > joined)
        it.flowawr("resume", "/runs/demo")
        tests.expect_the_same(it)
        for rank in ("rank-1", "rank-2"):
            it.await_that(f"{rank} ends with the run", lambda: it.is_finished(rank))


@scenario
def pause(tests: Tests) -> None:
    """An actor, the reward server and the learner, each frozen for 30 s."""
    with tests.deployment("pause") as it:
        it.up("learner", "actor", "reward-a")
        for number, service in enumerate(("actor", "reward-a", "learner")):
            it.await_update(3 + 4 * number)
            container = it.containers(service)[0]
            docker("pause", container)
            time.sleep(30)
            docker("unpause", container)
        tests.expect_the_same(it)


@scenario
def cut_off(tests: Tests) -> None:
    """An actor, the reward server and the learner, each without network for 20 s."""
    with tests.deployment("cut-off") as it:
        it.up("learner", "actor", "reward-a")
        network = f"{it.project}_default"
        for number, service in enumerate(("actor", "reward-a", "learner")):
            it.await_update(3 + 4 * number)
            container = it.containers(service)[0]
            docker("network", "disconnect", network, container)
            time.sleep(20)
            docker("network", "connect", "--alias", service, network, container)
        tests.expect_the_same(it)


@scenario
def swap(tests: Tests) -> None:
    """The reward moves to the second server while it trains; the first is stopped afterwards."""
    with tests.deployment("swap") as it:
        it.up("learner", "actor", "reward-a", "reward-b")
        it.await_update(5)
        it.flowawr("reward", "swap", "/runs/demo", "ocr", "--to", "reward-b:50052")
        swapped_at = it.updates()[-1]
        it.await_update(swapped_at + 3)
        it.compose("stop", "reward-a")
        it.await_update(swapped_at + 6)
        status = it.status()
        failed = set(status["dropped"]) - {"swapped", "duplicate"}  # which were under way at the swap, and made again
        assert not failed, f"groups that failed: {status['dropped']}"
        assert status["reward_spec"]["terms"][0]["endpoint"] == "reward-b:50052", status["reward_spec"]
        tests.expect_the_same(it)  # the second server reads as the first one does


@scenario
def down_and_up(tests: Tests) -> None:
    """`down` saves a checkpoint within its grace; `up` goes on to the same bytes."""
    with tests.deployment("down") as it:
        it.up("learner", "actor", "reward-a")
        it.await_update(10)
        it.compose("down")
        stopped_at = it.updates()[-1]
        newest = sorted(path.name for path in (it.run_folder / "checkpoints").glob("update-*"))[-1]
        assert newest == f"update-{stopped_at:06}", f"{newest} is the newest checkpoint, {stopped_at} the last update"
        it.up("learner", "actor", "reward-a")
        tests.expect_the_same(it)


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/test-containers")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--list", action="store_true", help="tell what there is")
    parser.add_argument("--kills", type=int, default=50, help="of the scenario `kills` (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of what is killed when")
    parser.add_argument("--end", metavar="ADAPTER:SAMPLES",
                        help="what `train` printed of the same image on this machine")
    parser.add_argument("--no-build", action="store_true", help=f"take {IMAGE} as it is")
    parser.add_argument("--package", type=pathlib.Path, metavar="DEB",
                        help="an image of this package instead of one built from the sources")
    arguments = parser.parse_args()
    if arguments.list:
        for name, function in SCENARIOS.items():
            say(f"{name:14} {function.__doc__.splitlines()[0]}")
        return 0
    unknown = set(arguments.scenarios) - set(SCENARIOS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))} (see --list)")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))  # what was started is removed
    failed = []
    with engine.Engine():
        engine.ensure_base()
        tests = Tests(arguments)
        tests.settings["PROMETHEUS_IMAGE"] = engine.ensure_monitoring("prometheus", "prom/prometheus:v2.55.1")
        tests.settings["ALERTMANAGER_IMAGE"] = engine.ensure_monitoring("prometheus-alertmanager",
                                                                        "prom/alertmanager:v0.27.0")
        if not arguments.no_build:
            begin = time.monotonic()
            if arguments.package:
                engine.build_of_package(arguments.package, IMAGE)
            else:
                engine.build(ROOT, IMAGE, "-f", ROOT / "docker/Dockerfile")
            say(f"built in {time.monotonic() - begin:.0f} s")
        for name in arguments.scenarios or SCENARIOS:
            say(f"{name}: {SCENARIOS[name].__doc__.splitlines()[0]}")
            begin = time.monotonic()
            try:
                SCENARIOS[name](tests)
                say(f"  passed in {time.monotonic() - begin:.0f} s")
            except Exception as problem:  # whatever it is, the other scenarios follow
                failed.append(name)
                say(f"  FAILED after {time.monotonic() - begin:.0f} s: {problem}")
    say(f"{len(arguments.scenarios or SCENARIOS) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
