"""The whole service on machines of their own, by the programs that ship, with TLS and a token for each role."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from network import Machine, Network, run

ROOT = Path(os.environ.get("FLOWAWR_SOURCE_DIR", Path(__file__).resolve().parents[3]))
PROGRAMS = Path(os.environ.get("FLOWAWR_BUILD_DIR", ROOT / "build/release")) / "bin"
PATIENCE_S = 600  # how long a test waits for anything before it fails: it says that something hangs
LEARNER, REWARDS, METRICS, FAR = 50051, 7000, 9100, 50061
UPDATES = 40  # enough that none is over before what a test does to it has been noticed

# A batch of 2 groups of 4 pictures; strict: the same bytes whatever happens on the way.
CONFIG = """
name: machines-test
run_dir: {folder}/run
model: {{path: models/tiny-sd3, height: 32, width: 64, max_sequence_length: 12}}
lora: {{rank: 4, alpha: 8}}
prompts: {{train: models/tiny-sd3/prompts/train.txt, heldout: models/tiny-sd3/prompts/heldout.txt}}
sampler: {{solver: dpm_solver_pp_2m, steps: 3}}
rollout: {{groups_per_batch: 2, samples_per_group: 4, max_staleness: 0, lease_timeout_s: 5, max_attempts: 100}}
rewards: {{terms: [{{scorer: small, endpoint: "rewards-1:{rewards},rewards-2:{rewards}", timeout_s: 60}}]}}
algorithm: {{flow_awr: {{energy: soft}}, behaviour: current}}
optimizer: {{learning_rate: 0.001}}
train: {{updates: {updates}, timesteps_per_sample: 2, micro_batch: 8, threads: 1}}
evaluation: {{every_updates: 4, prompts: 2, final_prompts: 3, solver: euler, steps: 2, pictures: 2}}
checkpoint: {{every_updates: 1, keep: 2}}
network:
  learner_listen: "[::]:{learner}"
  tls_cert: {certs}/server.pem
  tls_key: {certs}/server-key.pem
  tls_ca: {certs}/ca.pem
  mutual_tls: true
  metrics_tls: true
  reward_token_file: {certs}/reward-token
  actor_token_file: {certs}/actor-token
  operator_token_file: {certs}/operator-token
  read_only_token_file: {certs}/read-only-token
"""


class Service:
    """Machines: learner, elsewhere (where the learner may move), actor-1 on a line that loses packets, actor-2 behind a
    far line, rewards-1, rewards-2, and desk, from where it is looked at."""

    def __init__(self, folder: Path, network: Network) -> None:
        self.folder, self.network = folder, network
        names = ("learner", "elsewhere", "actor-1", "actor-2", "far", "rewards-1", "rewards-2", "desk")
        self.machines = {name: network.add(name) for name in names}
        self.machines["actor-1"].lose(0.02)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.starts = 0
        self._make_files()
        self._start("proxy", "far", sys.executable, str(Path(__file__).with_name("delay_proxy.py")), str(FAR),
                    "learner",
                    str(LEARNER), "0.03")  # fmt: skip
        self.await_log("proxy", "passing on")

    def _make_files(self) -> None:
        self.certs = self.folder / "certs"
        hosts = [f"--host={each}" for machine in self.machines.values()
                 for each in (machine.name, machine.ipv4, machine.ipv6)]
        run(str(PROGRAMS / "flowawr"), "certs", str(self.certs), "--tokens", *hosts,
            *[f"--client={n}" for n in ("actor", "desk")])
        names = {"folder": self.folder, "certs": self.certs, "learner": LEARNER, "rewards": REWARDS, "updates": UPDATES}
        (self.folder / "config.yaml").write_text(CONFIG.format(**names))
        for client, token in (("actor", "actor"), ("desk", "read-only"), ("operator", "operator")):
            identity = "desk" if client == "operator" else client
            # A learner that moved keeps its certificate; so does an actor's page, which the desk looks at.
            (self.folder / f"{client}.yaml").write_text(
                f"network: {{tls_ca: {self.certs}/ca.pem, tls_cert: {self.certs}/client-{identity}.pem, "
                f"tls_key: {self.certs}/client-{identity}-key.pem, mutual_tls: true, "
                f"{token.replace('-', '_')}_token_file: {self.certs}/{token}-token}}\n"
            )

    def machine_of(self, process: str) -> Machine:
        return self.machines[process]

    def log(self, process: str) -> str:
        return self._log_files[process].read_text(errors="replace")

    _log_files: dict[str, Path] = {}

    def _start(self, process: str, machine: str, *command: str) -> None:
        self.starts += 1
        self._log_files = {**self._log_files, process: self.folder / f"{self.starts}-{process}.log"}
        with open(self._log_files[process], "wb") as log:
            self.processes[process] = subprocess.Popen(
                self.machines[machine].command(*command), cwd=ROOT, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def start_learner(self, machine: str = "learner", resume: bool = False) -> None:
        more = ["--resume"] if resume else []
        self._start("learner", machine, str(PROGRAMS / "flowawr-learner"), "--config", str(self.folder / "config.yaml"),
                    "--metrics", f"0.0.0.0:{METRICS}", *more)  # fmt: skip

    def start_rewards(self, name: str) -> None:
        self._start(name, name, str(PROGRAMS / "flowawr-reward-server"), "--listen",
                    f"{self.machines[name].ipv4}:{REWARDS}", "--scorer", "small=jpeg_compressibility,scale=1",
                    "--threads", "1", "--network-config",
                    str(self.folder / "config.yaml"), "--metrics", f"0.0.0.0:{METRICS}")  # fmt: skip

    def start_actor(self, name: str, learner: str = "") -> None:
        # One by an IPv6 address, the other by a name, over the far line.
        direct = f"[{self.machines['learner'].ipv6}]:{LEARNER}"
        learner = learner or (direct if name == "actor-1" else f"far:{FAR}")
        self._start(name, name, str(PROGRAMS / "flowawr-actor"), "--learner", learner, "--id", name, "--threads", "1",
                    "--network-config", str(self.folder / "actor.yaml"))  # fmt: skip

    def start(self, process: str) -> None:
        if process == "learner":
            self.start_learner()
        elif process.startswith("rewards"):
            self.start_rewards(process)
        else:
            self.start_actor(process)

    def await_true(self, condition: Callable[[], object], what: str) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not condition():
            if time.monotonic() > limit:
                raise AssertionError(f"{what}: not within {PATIENCE_S} s\n{self.tails()}")
            time.sleep(0.1)  # between looks; what is waited for is the condition

    def await_log(self, process: str, text: str, count: int = 1) -> None:
        self.await_true(lambda: self.log(process).count(text) >= count, f'"{text}" in the log of {process}')

    def await_started(self, process: str) -> None:
        said = ("registered as", "waiting for the learner at") if process.startswith("actor") else ("serving on",)
        self.await_true(lambda: any(text in self.log(process) for text in said), f"{process} has started")

    def kill(self, process: str) -> None:
        self.processes[process].kill()
        self.processes[process].wait()

    def ask(self, *arguments: str, config: str = "desk") -> subprocess.CompletedProcess[str]:
        """A command of flowawr, on the desk."""
        command = [str(PROGRAMS / "flowawr"), *arguments, "--learner", f"learner:{LEARNER}", "--network-config",
                   str(self.folder / f"{config}.yaml")]  # fmt: skip
        return subprocess.run(self.machines["desk"].command(*command), capture_output=True, text=True, cwd=ROOT)

    def status(self) -> dict:
        done = self.ask("status", "--json")
        return json.loads(done.stdout) if done.returncode == 0 else {}

    def await_update(self, update: int) -> None:
        self.await_true(lambda: int(self.status().get("update", 0)) >= update, f"update {update}")

    def metric(self, name: str, machine: str = "learner") -> float:
        """Of a page over TLS, with the token for looking."""
        code = (
            "import ssl,sys,urllib.request as u;"
            "r=u.Request(sys.argv[1],headers={'Authorization':'Bearer '+open(sys.argv[3]).read().strip()});"
            "print(u.urlopen(r,context=ssl.create_default_context(cafile=sys.argv[2]),timeout=20).read().decode())"
        )
        page = self.machines["desk"].run(sys.executable, "-c", code, f"https://{machine}:{METRICS}/metrics",
                                         str(self.certs / "ca.pem"), str(self.certs / "read-only-token"))  # fmt: skip
        for line in page.splitlines():
            if line.startswith(name) and line[len(name)] in " {":
                return float(line.rpartition(" ")[2])
        raise AssertionError(f"{name} is not on the page:\n{page}")

    def expect_to_finish(self) -> bytes:
        """Every process that belongs to the run ends as it should; gives the adapter that was trained."""
        self.await_true(lambda: self.processes["learner"].poll() is not None, "the end of the run")
        assert self.processes["learner"].returncode == 0, self.tails()
        for name in ("actor-1", "actor-2"):
            self.processes[name].wait(PATIENCE_S)
            assert self.processes[name].returncode == 0, self.tails()
        lines = [json.loads(line) for line in (self.folder / "run/metrics.jsonl").read_text().splitlines()]
        updates = [line["update"] for line in lines if "loss" in line]
        assert updates == list(range(1, UPDATES + 1)), "each update once, none left out"
        return (self.folder / "run/export/peft/adapter_model.safetensors").read_bytes()

    def tails(self) -> str:
        return "\n".join(f"--- {name}\n{self.log(name)[-3000:]}" for name in self.processes)

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
                process.wait()
