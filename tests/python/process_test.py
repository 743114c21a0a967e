"""A reward's own process, as users start and stop it."""

import signal

import pytest
from conftest import Client, await_true, item

SCRIPT = """
import sys, threading
from flowawr_reward import Reward, serve
class Slow(Reward):
    name = "slow"
    def load(self):
        if sys.argv[1:] and sys.argv[1] == "--forever":
            print("loading", flush=True)
            threading.Event().wait()
        if sys.argv[1:] and sys.argv[1] == "--fail":
            raise OSError("weights.pt is not here")
    def score_one(self, image, prompt, metadata):
        print("scoring", flush=True)
        threading.Event().wait(float(metadata["seconds"]))
        return 0.5
if sys.argv[1:] and sys.argv[1] in ("--forever", "--fail"):
    from flowawr_reward import ServerOptions
    serve(Slow(), options=ServerOptions())
serve(Slow(){options})
"""


@pytest.fixture
def script(tmp_path):
    def write(options=""):
        path = tmp_path / "slow.py"
        path.write_text(SCRIPT.replace("{options}", options))
        return path

    return write


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_is_under_way_end(start_process, script, number):
    process = start_process(script())
    call = Client(process.await_endpoint(), "slow").start(item(seconds="0.5"))
    await_true(lambda: "scoring" in process.log())
    process.process.send_signal(number)
    assert call.result().results[0].reward == 0.5
    assert process.wait() == 0
    assert "serving on 127.0.0.1:" in process.log()
    assert "stopping: what is under way is answered first" in process.log()


def test_a_call_that_never_returns_does_not_keep_the_process(start_process, script, tmp_path):
    options = f", options=ServerOptions(grace_s=0.2, endpoint_file={str(tmp_path / 'endpoint')!r})"
    path = script(options)
    path.write_text("from flowawr_reward import ServerOptions\n" + path.read_text())
    process = start_process(path)
    client = Client(process.await_endpoint(), "slow")
    call = client.start(item(seconds="10000"))
    await_true(lambda: "scoring" in process.log())
    process.process.terminate()
    assert process.wait() == 0
    assert call.exception() is not None


def test_a_signal_ends_the_loading_at_once(start_process, script):
    process = start_process(script(), "--forever")
    await_true(lambda: "loading" in process.log())
    process.process.terminate()
    assert process.wait() == 0


def test_weights_that_cannot_be_loaded_end_it_with_the_rewards_own_error(start_process, script):
    process = start_process(script(), "--fail")
    assert process.wait() == 1
    assert "OSError: weights.pt is not here" in process.log()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--thread", "2"], 64, "unrecognized arguments: --thread 2"),
        (["--threads", "0"], 64, "0 is no whole number of 1 to 256"),
        (["--wait-ms", "nan"], 64, "nan is no number of 0 to 60000"),
        (["--listen", "everywhere"], 64, "no HOST:PORT"),
        (["--listen", "0.0.0.0:0"], 77, "unencrypted"),
        (["--token-file", "/nonexistent/token"], 66, "/nonexistent/token does not exist"),
    ],
)
def test_a_mistake_of_the_command_line_is_told(start_process, script, arguments, code, message):
    process = start_process(script(), *arguments)
    assert process.wait() == code
    assert message in process.log()
    assert "Traceback" not in process.log()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "there is nothing to serve"),
        (["--function", "os:getcwd", "--name", "a", "--name", "b"], "2 names for 1 functions"),
        (["--reward", "os:getcwd"], "no flowawr_reward.Reward"),
        (["--function", "os:nothing"], "os has no 'nothing'"),
    ],
)
def test_a_mistake_of_the_command_is_told(start_process, arguments, message):
    process = start_process("-m", "flowawr_reward", *arguments)
    assert process.wait() == 64
    assert message in process.log()
    assert "Traceback" not in process.log()
