"""The pods of the base, started here as kubelet would: their arguments, their files and nothing else, TLS and a token
for each role. They train; their probes answer; Prometheus is let in by what the chart gives it.

Names of Services and of rank 0's pod become loopback addresses, ports free ones, and mounted folders temporary ones;
nothing else is changed.
"""
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request

import pytest
import yaml

import programs
from manifests import ROOT, jobs, main_container, of_kind, pod_templates, read

PATIENCE_S = 240  # that something hangs, not that it is slow


def free_port():
    while True:
        with socket.socket() as sock:
            sock.bind(("0.0.0.0", 0))
            port = sock.getsockname()[1]
        if port not in (50051, 50052, 29400):  # those of the manifests
            return port


def flowawr_certs(folder, components):
    """The Secrets as docs/kubernetes.md has people make them."""
    hosts = [word for component in components for word in ("--host", f"flowawr-{component}")]
    subprocess.run([programs.path("flowawr"), "certs", str(folder), "--tokens", *hosts], check=True,
                   capture_output=True)
    tls = {"tls.crt": "server.pem", "tls.key": "server-key.pem", "ca.crt": "ca.pem"}
    return {name: (folder / file).read_text() for name, file in tls.items()}


def cert_manager(folder, component):
    """What a Certificate of the chart asks for, by openssl."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    if not (folder / "ca.crt").exists():
        openssl("req", "-x509", *key, "-days", "2", "-keyout", "ca.key", "-out", "ca.crt",
                "-subj", "/CN=flowawr test CA")
    openssl("req", *key, "-keyout", "tls.key", "-out", "tls.csr", "-subj", f"/CN=flowawr-{component}")
    (folder / "extensions").write_text(f"subjectAltName=DNS:flowawr-{component},DNS:localhost,IP:127.0.0.1\n"
                                       "keyUsage=digitalSignature,keyEncipherment\n"
                                       "extendedKeyUsage=serverAuth,clientAuth\n")
    openssl("x509", "-req", "-in", "tls.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "extensions", "-out", "tls.crt")
    return {name: (folder / name).read_text() for name in ("tls.crt", "tls.key", "ca.crt")}


class Node:
    """Runs pods of one kustomization."""

    def __init__(self, objects, folder):
        self.folder, self.processes, self.ports, self.environment = folder, {}, {}, {}
        self.pods = {template["metadata"]["labels"]["app.kubernetes.io/component"]: template
                     for _, template in pod_templates(objects)}
        self.ranks = []  # components of their own, since each listens by itself
        if rank := self.pods.pop("rank", None):
            (number,) = [spec["completions"] for _, spec in jobs(objects) if spec["template"] == rank]
            self.ranks = [f"rank-{index + 1}" for index in range(number)]
            for index, name in enumerate(self.ranks):
                self.pods[name], self.environment[name] = rank, {"JOB_COMPLETION_INDEX": str(index)}
        self.data = {one["metadata"]["name"]: dict(one["data"]) for one in of_kind(objects, "ConfigMap")}
        secrets = folder / "secrets"
        shared = flowawr_certs(secrets, self.pods)
        self.data["flowawr-tokens"] = {role: (secrets / f"{role}-token").read_text()
                                       for role in ("actor", "reward", "operator", "read-only")}
        if of_kind(objects, "Certificate"):
            self.data.update({f"flowawr-{component}-tls": cert_manager(secrets, component) for component in self.pods})
        else:
            self.data["flowawr-tls"] = shared
        self.ca = self.certificate_of("learner")["ca.crt"]
        (folder / "runs").mkdir()

    def certificate_of(self, component):
        return self.data.get(f"flowawr-{component}-tls") or self.data["flowawr-tls"]

    def train(self, network, **sections):
        """Has the learner train this, in place of what may need a model that is not here."""
        run = yaml.safe_load(read_config("base"))
        for section, change in sections.items():
            run[section].update(change)
        self.data["flowawr-config"]["run.yaml"] = yaml.safe_dump({**run, "network": network})

    def port(self, component, port):
        return self.ports.setdefault((component, port), free_port())

    def here(self, component, text):
        """`text` of a pod as it must be on this machine."""
        for other in self.pods:
            text = re.sub(rf"\bflowawr-{other}:(\d+)",
                          lambda found, other=other: f"127.0.0.1:{self.port(other, found[1])}", text)
        text = re.sub(r"\bflowawr-learner-0-0\.flowawr:(\d+)",
                      lambda found: f"127.0.0.1:{self.port('learner', found[1])}", text)
        text = re.sub(r"\b(0\.0\.0\.0|127\.0\.0\.1):(5005\d|9464|29400)\b",
                      lambda found: f"{found[1]}:{self.port(component, found[2])}", text)
        text = text.replace("/etc/flowawr/", f"{self.folder}/{component}/etc/flowawr/")
        text = text.replace("/runs/", f"{self.folder}/runs/")
        return text.replace("$(POD_NAME)", f"{component}-0")

    def mount(self, component):
        pod = self.pods[component]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        for mount in main_container(pod)["volumeMounts"]:
            source = volumes[mount["name"]].get("configMap") or volumes[mount["name"]].get("secret")
            if not source:
                continue
            where = self.folder / component / mount["mountPath"].lstrip("/")
            where.mkdir(parents=True, exist_ok=True)
            for item in source["items"]:
                text = self.data[source.get("name") or source.get("secretName")][item["key"]]
                (where / item["path"]).write_text(self.here(component, text))

    def command(self, component, words):
        return [programs.path(words[0]), *(self.here(component, str(word)) for word in words[1:])]

    def start(self, component):
        self.mount(component)
        log = open(self.folder / f"{component}.log", "w")
        self.processes[component] = subprocess.Popen(
            self.command(component, main_container(self.pods[component])["args"]), cwd=ROOT, stdout=log,
            stderr=subprocess.STDOUT, env={**os.environ, **self.environment.get(component, {})})

    def wait(self, component):
        code = self.processes[component].wait(timeout=PATIENCE_S)
        assert code == 0, (self.folder / f"{component}.log").read_text()[-4000:]

    def probe(self, component, kind):
        """(answered, what was said)"""
        probe = main_container(self.pods[component])[kind]
        if "exec" in probe:
            done = subprocess.run(self.command(component, probe["exec"]["command"]), capture_output=True, text=True,
                                  timeout=PATIENCE_S)
            return done.returncode == 0, done.stderr
        assert "httpGet" in probe, probe
        port = self.port(component, "9464")
        with contextlib.suppress(OSError):
            url = f"{probe['httpGet']['scheme'].lower()}://127.0.0.1:{port}{probe['httpGet']['path']}"
            return self.get(url)[0] == 200, ""
        return False, "does not answer"

    def await_probe(self, component, kind):
        until = time.monotonic() + PATIENCE_S
        while True:
            answered, said = self.probe(component, kind)
            if answered:
                return
            assert self.processes[component].poll() is None and time.monotonic() < until, (
                said + (self.folder / f"{component}.log").read_text()[-4000:])
            time.sleep(0.1)  # as kubelet does, more often

    def get(self, url, token=None, certificate=None):
        """(status, body) of a page of a server that the authority vouches for."""
        context = ssl.create_default_context(cadata=self.ca)
        if certificate:
            for name in ("tls.crt", "tls.key"):
                (self.folder / name).write_text(certificate[name])
            context.load_cert_chain(self.folder / "tls.crt", self.folder / "tls.key")
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"} if token else {})
        try:
            with urllib.request.urlopen(request, context=context, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, ""

    def stop(self):
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def read_config(kustomization):
    return next(one["data"]["run.yaml"]
                for one in of_kind(read(kustomization), "ConfigMap") if "run.yaml" in one["data"])


@pytest.fixture(params=["base", "overlays/sd35-multi-node", "overlays/sd35-ranks"])
def node(request, tmp_path):
    there = Node(read(request.param), tmp_path)
    shipped = yaml.safe_load(read_config(request.param))
    there.train(shipped["network"], rollout={"groups_per_batch": 2, "samples_per_group": 4},
                train={"updates": 2, "micro_batch": 2, "ranks": shipped["train"].get("ranks", 1)},
                prompts={"heldout": ""}, evaluation={"every_updates": 0}, sampler={"steps": 4})
    yield there
    there.stop()


def test_the_pods_train_with_tls_and_a_token_for_each_role(node):
    node.start("actor")  # no order is asked for
    node.await_probe("actor", "startupProbe")
    node.await_probe("actor", "livenessProbe")
    node.processes["actor"].send_signal(signal.SIGSTOP)  # lest they have trained before they are looked at
    for rank in node.ranks:
        node.start(rank)
    for component in ("learner", "reward-ocr"):
        node.start(component)
        node.await_probe(component, "startupProbe")
        node.await_probe(component, "readinessProbe")
    for rank in node.ranks:
        node.await_probe(rank, "startupProbe")
        node.await_probe(rank, "livenessProbe")
    node.processes["actor"].send_signal(signal.SIGCONT)
    metrics = f"https://127.0.0.1:{node.port('reward-ocr', '9464')}/metrics"
    mine = node.certificate_of("reward-ocr")
    # As the PodMonitor says.
    status, page = node.get(metrics, token=node.data["flowawr-tokens"]["read-only"].strip(), certificate=mine)
    assert status == 200 and "flowawr_scorer_queue_images{" in page  # what autoscaling goes by
    assert node.get(metrics, certificate=mine)[0] == 401
    node.wait("learner")
    node.wait("actor")
    for rank in node.ranks:
        node.wait(rank)  # rank 0's end is theirs
        assert f"as {rank.replace('-', ' ')}" in (node.folder / f"{rank}.log").read_text()
    (run,) = (node.folder / "runs").iterdir()
    assert (run / "export/pytorch_lora_weights.safetensors").exists()
    assert node.processes["reward-ocr"].poll() is None
    assert node.probe("reward-ocr", "livenessProbe")[0]


def test_probes_say_no_when_nobody_is_there(node):
    for component in ("learner", "actor", *node.ranks[:1]):
        node.mount(component)
        assert not node.probe(component, "startupProbe")[0]
