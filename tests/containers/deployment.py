"""deploy/compose under a project name of its own, as people run it, and what a test asks of it."""

import hashlib
import json
import os
import pathlib
import signal
import time
import urllib.request

from tests.containers.engine import ROOT, docker, run

COMPOSE = ROOT / "deploy/compose"
RUN = "demo"
PATIENCE = 600  # seconds; says that something hangs, not that it is slow


class Deployment:
    """Removed with its volumes at the end of a `with`."""

    def __init__(self, name: str, settings: dict, files=("compose.yaml",)):
        self.project = f"flowawr-test-{name}"
        self._files = [word for file in files for word in ("-f", COMPOSE / file)]
        self._environment = {**os.environ, **settings}
        for port in ("FLOWAWR_LEARNER_PORT", "FLOWAWR_LIVE_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT"):
            self._environment[port] = "0"  # any free one

    def __enter__(self):
        self.compose("down", "-v", "--remove-orphans")
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            print(self.compose("logs", "--no-color", "--tail", "40", check=False))
        self.compose("down", "-v", "--timeout", "30")

    def compose(self, *arguments, **options) -> str:
        done = run("docker", "compose", "-p", self.project, *self._files, *arguments, env=self._environment, **options)
        return done.stdout + (done.stderr if options.get("check") is False else "")

    def up(self, *services, scale: int | None = None) -> None:
        more = [] if scale is None else ["--scale", f"actor={scale}"]
        self.compose("up", "--detach", "--no-recreate", *more, *services)

    def containers(self, service: str, only_running=True) -> list[str]:
        ids = self.compose("ps", "-q", *([] if only_running else ["-a"]), service, check=not only_running).split()
        return [word for word in ids if len(word) == 64]

    def crash(self, service: str, index: int = 0) -> bool:
        """SIGKILL to the process itself, as a crash would: the engine then applies its restart policy."""
        found = self.containers(service)
        if len(found) <= index:
            return False
        pid = int(docker("inspect", "-f", "{{.State.Pid}}", found[index], check=False) or 0)
        if pid <= 0:
            return False
        os.kill(pid, signal.SIGKILL)
        return True

    @property
    def run_folder(self) -> pathlib.Path:
        return pathlib.Path(docker("volume", "inspect", "-f", "{{.Mountpoint}}", f"{self.project}_runs")) / RUN

    def _records(self) -> list[dict]:
        try:
            lines = (self.run_folder / "metrics.jsonl").read_text().splitlines()
        except (FileNotFoundError, RuntimeError):
            return []
        records = [json.loads(line) for line in lines if line.endswith("}")]
        return [record for record in records if record["kind"] == "update"]

    def updates(self) -> list[int]:
        """The numbers of the updates that the run's metrics tell of, in their order."""
        return [record["update"] for record in self._records()]

    def await_that(self, what: str, is_so) -> None:
        limit = time.monotonic() + PATIENCE
        while not is_so():
            if time.monotonic() > limit:
                raise AssertionError(f"{self.project}: not within {PATIENCE} s: {what}")
            time.sleep(0.1)

    def await_update(self, number: int) -> None:
        self.await_that(f"update {number}", lambda: self.updates()[-1:] >= [number])

    def is_finished(self, service: str = "learner") -> bool:
        found = self.containers(service, only_running=False)
        return bool(found) and docker("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", found[0]) == "exited 0"

    def await_end(self) -> tuple[str, int]:
        """Until the learner is done; the trained adapter's digest and the samples that it was trained on."""
        self.await_that("the end of the training", self.is_finished)
        updates = self.updates()
        assert updates == list(range(1, len(updates) + 1)), f"updates lost or made twice: {updates}"
        self.await_that("actors leave", lambda: not self.containers("actor"))
        adapter = (self.run_folder / "export/peft/adapter_model.safetensors").read_bytes()
        return hashlib.sha256(adapter).hexdigest(), self._records()[-1]["samples_trained"]

    def scraped(self) -> dict:
        """By instance, whether Prometheus could read its /metrics: "1" or "0"."""
        port = self.compose("port", "prometheus", "9090").strip().rsplit(":", 1)[1]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=up") as answer:
            found = json.load(answer)["data"]["result"]
        return {f"{one['metric']['job']} {one['metric']['instance']}": one["value"][1] for one in found}

    def flowawr(self, *arguments, **options) -> str:
        return self.compose("exec", "-T", "learner", "flowawr", *arguments, **options)

    def status(self) -> dict:
        """Empty while the learner does not answer."""
        told = self.flowawr("status", f"/runs/{RUN}", "--json", check=False)
        return json.loads(told) if told.startswith("{") else {}
