"""The package as pip installs it, and its types."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import PACKAGE, ROOT

from flowawr_reward.version import VERSION


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy of what a clean clone holds, by the tools that are here: nothing is fetched."""
    folder = tmp_path_factory.mktemp("wheel")
    clone = folder / "clone"
    for part in ("python", "proto"):
        ignored = shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
        shutil.copytree(ROOT / part, clone / part, ignore=ignored)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    command = [
        *pip,
        "wheel",
        "--no-build-isolation",
        "--no-deps",
        "--no-index",
        "-w",
        str(folder),
        str(clone / "python"),
    ]
    subprocess.run(command, check=True)
    (made,) = folder.glob("*.whl")
    return made


def test_is_one_wheel_for_all_with_types_and_protocol(wheel):
    assert wheel.name == f"flowawr_reward-{VERSION}-py3-none-any.whl"
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {f"flowawr_reward/{path.name}" for path in (PACKAGE / "flowawr_reward").glob("*.py")}
    modules |= {f"flowawr_metrics/{path.name}" for path in (PACKAGE / "flowawr_metrics").glob("*.py")}
    assert modules | {"flowawr_metrics/py.typed", "flowawr_reward/py.typed", "flowawr_reward/reward.binpb"} <= names
    assert not any("_pb2" in name for name in names)


def test_works_without_the_checkout_and_without_grpcio_tools(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import sys; sys.modules['grpc_tools'] = None\n"
        "import flowawr_reward, flowawr_reward.protocol as protocol\n"
        "assert flowawr_reward.__file__.startswith(sys.argv[1]), flowawr_reward.__file__\n"
        "class Half(flowawr_reward.Reward):\n"
        "    name = 'half'\n"
        "    def score_one(self, image, prompt, metadata): return 0.5\n"
        "with flowawr_reward.Server(Half()) as server: print(sorted(protocol.methods()))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", code, str(tmp_path)]
    ended = subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True, text=True)
    assert "'Score'" in ended.stdout


def test_has_a_command(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path)
    (found,) = importlib.metadata.distributions(path=[str(tmp_path)])
    (command,) = found.entry_points
    assert (command.name, command.value) == ("flowawr-reward", "flowawr_reward.command:main")


def test_has_the_projects_version():
    assert re.search(r"project\(flowawr VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text())[1] == VERSION


def test_has_types_that_hold(tmp_path):
    command = [
        sys.executable,
        "-m",
        "mypy",
        "--config-file",
        "pyproject.toml",
        "--cache-dir",
        str(tmp_path),
        "flowawr_metrics",
        "flowawr_reward",
    ]
    ended = subprocess.run(command, cwd=PACKAGE, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
