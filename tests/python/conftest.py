"""What the tests of python/flowawr_reward share: servers of rewards, and a client of code that protoc generated from
reward.proto, which knows nothing of the package's own messages."""

import importlib
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import grpc
import numpy as np
import pytest
from grpc_tools import protoc

ROOT = Path(os.environ.get("FLOWAWR_SOURCE_DIR", Path(__file__).resolve().parents[2]))
PACKAGE = ROOT / "python"
PATIENCE_S = 60  # how long a test waits for anything before it fails
sys.path.insert(0, str(PACKAGE))
os.environ["PYTHONPATH"] = str(PACKAGE)  # of the processes that tests start

from flowawr_reward import Server, ServerOptions  # noqa: E402


def _generated():
    folder = tempfile.mkdtemp(prefix="flowawr_reward_pb")
    source = "flowawr/v1/reward.proto"
    arguments = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_python_out={folder}", source]
    assert protoc.main(arguments) == 0
    sys.path.insert(0, folder)
    return [importlib.import_module(f"flowawr.v1.reward_{kind}") for kind in ("pb2", "pb2_grpc")]


pb, pb_grpc = _generated()


def item(pixel=0, height=2, width=3, prompt="", **metadata):
    rgb = bytes([pixel]) * (height * width * 3)
    return pb.ScoreItem(image_rgb=rgb, height=height, width=width, prompt=prompt, metadata=metadata)


class Client:
    """One connection."""

    def __init__(self, endpoint, scorer="", credentials=None, metadata=()):
        options = [("grpc.use_local_subchannel_pool", 1)]
        self.channel = (
            grpc.secure_channel(endpoint, credentials, options)
            if credentials
            else grpc.insecure_channel(endpoint, options)
        )
        self.stub = pb_grpc.RewardServiceStub(self.channel)
        self.scorer, self.metadata = scorer, metadata

    def call(self, method, request, timeout=PATIENCE_S):
        return getattr(self.stub, method)(request, timeout=timeout, metadata=self.metadata)

    def start(self, *items, timeout=PATIENCE_S):
        """A call under way."""
        return self.stub.Score.future(
            pb.ScoreRequest(scorer=self.scorer, items=items), timeout=timeout, metadata=self.metadata
        )

    def score(self, *items, timeout=PATIENCE_S):
        return self.start(*items, timeout=timeout).result().results

    def info(self):
        return {each.name: each for each in self.call("ListScorers", pb.ListScorersRequest()).scorers}[self.scorer]


@pytest.fixture
def serve():
    """serve(*rewards, **options) gives a client of the first reward; `client.server` is the Server."""
    servers, clients = [], []

    def start(*rewards, **options):
        server = Server(*rewards, options=ServerOptions(**{"grace_s": 0.2, **options}))
        servers.append(server)
        client = Client(server.endpoint, rewards[0].name)
        clients.append(client)
        client.server = server
        return client

    yield start
    for client in clients:
        client.channel.close()
    for server in servers:
        server.stop()


class Gate:
    """Holds calls of a reward until it is opened; tells when one has come."""

    def __init__(self):
        self.has_come, self.is_open = threading.Event(), threading.Event()

    def pass_through(self):
        self.has_come.set()
        assert self.is_open.wait(PATIENCE_S)

    def await_one(self):
        assert self.has_come.wait(PATIENCE_S)


@pytest.fixture
def gate():
    made = Gate()
    yield made
    made.is_open.set()


def await_true(condition):
    """Until it holds; for what nobody signals."""
    pause = threading.Event()
    for _ in range(PATIENCE_S * 100):
        if condition():
            return
        pause.wait(0.01)
    raise AssertionError("did not come true")


class Process:
    """A server process: `arguments` follow the interpreter. Killed at the latest by close()."""

    def __init__(self, arguments, folder, cwd=None):
        self.endpoint_file, self.log_file = folder / "endpoint", folder / "log"
        with open(self.log_file, "w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, arguments), "--endpoint-file", str(self.endpoint_file)],
                stdout=log,
                stderr=log,
                cwd=cwd,
            )

    def await_endpoint(self):
        await_true(lambda: self.endpoint_file.exists() or self.process.poll() is not None)
        assert self.endpoint_file.exists(), self.log()
        return self.endpoint_file.read_text().strip()

    def wait(self):
        return self.process.wait(PATIENCE_S)

    def log(self):
        return self.log_file.read_text()


@pytest.fixture
def start_process(tmp_path):
    started = []

    def start(*arguments, cwd=None):
        started.append(Process(arguments, tmp_path, cwd))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def checkerboard(height, width):
    """An image of every level."""
    return np.arange(height * width * 3, dtype=np.uint64).astype(np.uint8).reshape(height, width, 3)
