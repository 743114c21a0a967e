"""What tools/convert_rewards refuses, and that it leaves nothing half-written. That its folders score alike is
tests/reward_server/scorers/clip_scorer_test.cc's."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file

ROOT = pathlib.Path(__file__).parents[2]


class Program:
    """Runs when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def load_tool():
    sys.path.insert(0, str(ROOT / "tools/convert_rewards"))
    spec = importlib.util.spec_from_file_location("convert_rewards", ROOT / "tools/convert_rewards/__main__.py")
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    return tool


TOOL = load_tool()


@pytest.fixture
def convert(monkeypatch):
    """Returns the exit code."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert_rewards", *map(str, arguments)])
        return TOOL.main()
    return run


@pytest.fixture
def refused(convert, capsys):
    """Returns the complaint."""
    def run(*arguments):
        assert convert(*arguments) == 65
        return capsys.readouterr().err
    return run


def mlp(**changes):
    widths = {0: (8, 6), 2: (5, 8), 4: (4, 5), 6: (3, 4), 7: (1, 3)}
    tensors = {}
    for i, (out, inner) in widths.items():
        tensors[f"layers.{i}.weight"], tensors[f"layers.{i}.bias"] = torch.randn(out, inner), torch.randn(out)
    return {**tensors, **changes}


def test_keeps_names_types_and_values(tmp_path, convert):
    tensors = {name: tensor.half() for name, tensor in mlp().items()}
    torch.save(tensors, tmp_path / "head.pth")
    assert convert("aesthetic", tmp_path / "head.pth", tmp_path / "out") == 0
    written = load_file(tmp_path / "out/model.safetensors")
    assert written.keys() == tensors.keys()
    assert all(torch.equal(written[name], tensors[name]) and written[name].dtype == torch.float16 for name in tensors)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["model.safetensors"]


def test_reads_the_old_format_of_torch(tmp_path, convert):
    torch.save(mlp(), tmp_path / "head.pth", _use_new_zipfile_serialization=False)
    assert convert("aesthetic", tmp_path / "head.pth", tmp_path / "out") == 0


def test_runs_no_program_of_a_pickle(tmp_path, refused):
    for new in (True, False):
        torch.save(mlp(extra=Program(str(tmp_path / "ran"))), tmp_path / "head.pth", _use_new_zipfile_serialization=new)
        assert "no checkpoint of tensors alone" in refused("aesthetic", tmp_path / "head.pth", tmp_path / "out")
        assert not (tmp_path / "ran").exists()


def test_writes_over_nothing(tmp_path, refused):
    torch.save(mlp(), tmp_path / "head.pth")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/model.safetensors").write_bytes(b"mine")
    assert "holds model.safetensors already" in refused("aesthetic", tmp_path / "head.pth", tmp_path / "out")
    assert (tmp_path / "out/model.safetensors").read_bytes() == b"mine"


@pytest.mark.parametrize("name, content, complaint", [
    ("missing", None, "is not there"),
    ("text", b"hello", "is no checkpoint"),
    ("empty", b"", "is no checkpoint"),
])
def test_files_that_are_no_checkpoints(tmp_path, refused, name, content, complaint):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert complaint in refused("aesthetic", tmp_path / name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_cut_short(tmp_path, refused):
    torch.save(mlp(), tmp_path / "head.pth")
    whole = (tmp_path / "head.pth").read_bytes()
    (tmp_path / "head.pth").write_bytes(whole[:len(whole) // 2])
    assert "cut short" in refused("aesthetic", tmp_path / "head.pth", tmp_path / "out")


@pytest.mark.parametrize("changes, complaint", [
    ({"layers.2.weight": torch.randn(5, 9)}, 'tensor "layers.2.weight" is [5, 9], expected [5, 8]'),
    ({"layers.9.bias": torch.randn(2)}, 'tensor "layers.9.bias" [2] is unexpected'),
    ({"layers.0.weight": torch.randn(8)}, 'no tensor "layers.0.weight"'),
    ({"epoch": 3}, "'epoch' is a int, not a tensor"),
])
def test_tensors_that_do_not_fit_are_named(tmp_path, refused, changes, complaint):
    torch.save(mlp(**changes), tmp_path / "head.pth")
    assert complaint in refused("aesthetic", tmp_path / "head.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_of_something_else(tmp_path, refused):
    torch.save(mlp(), tmp_path / "head.pth")
    complaint = refused("hpsv2", tmp_path / "head.pth", tmp_path / "out", "--tokenizer",
                        ROOT / "models/tiny-sd3/tokenizer")
    assert 'is no OpenCLIP model: it has no tensor "visual.conv1.weight"' in complaint


def test_is_a_command(tmp_path):
    torch.save(mlp(), tmp_path / "head.pth")
    command = [sys.executable, ROOT / "tools/convert_rewards", "aesthetic", tmp_path / "head.pth", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"wrote {tmp_path / 'out'}\n"
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 65
    assert "Traceback" not in again.stderr
