"""The protos of today serve those of the baseline; and the comparison finds what would break them."""
import pathlib
import subprocess

import pytest

from compatibility import breaks, contents, load, pb

ROOT = pathlib.Path(__file__).resolve().parents[2]
BASELINE = ROOT / "tests/proto/baseline.binpb"


@pytest.fixture(scope="module")
def today(tmp_path_factory):
    file = tmp_path_factory.mktemp("proto") / "now.binpb"
    protos = sorted(str(path.relative_to(ROOT / "proto")) for path in (ROOT / "proto").rglob("*.proto"))
    subprocess.run(["protoc", "-I", ".", "--include_imports", f"--descriptor_set_out={file}", *protos],
                   cwd=ROOT / "proto", check=True)
    return load(file)


def test_nothing_is_removed_renamed_renumbered_or_retyped(today):
    assert breaks(load(BASELINE), today) == []


def test_the_baseline_has_all_that_is_spoken(today):
    """Else what is new would be held by nothing: docs/development.md tells how the baseline moves."""
    missing = {name: what for name, what in contents(today).items() if contents(load(BASELINE)).get(name) != what}
    assert missing == {}, "move the baseline (docs/development.md, \"The protos of before\")"


def file_of(files, name):
    return next(file for file in files.file if file.name == name)


def message(files, name):
    return next(one for file in files.file for one in file.message_type if one.name == name)


def remove_field(files):
    del message(files, "Prompt").field[0]


def renumber(files):
    message(files, "Prompt").field[0].number = 999


def rename(files):
    message(files, "Prompt").field[0].name = "words"


def retype(files):
    message(files, "RunConfig").field[2].type = pb.FieldDescriptorProto.TYPE_STRING


def repeat(files):
    message(files, "RunConfig").field[2].label = pb.FieldDescriptorProto.LABEL_REPEATED


def leave_oneof(files):
    field = next(one for one in message(files, "FieldRule").field if one.proto3_optional)
    field.ClearField("oneof_index")
    field.proto3_optional = False


def remove_message(files):
    file = file_of(files, "flowawr/v1/config.proto")
    del file.message_type[-1]


def remove_value(files):
    del file_of(files, "flowawr/v1/config.proto").enum_type[0].value[-1]


def rename_value(files):
    file_of(files, "flowawr/v1/config.proto").enum_type[0].value[-1].name = "OTHER"


def remove_method(files):
    del file_of(files, "flowawr/v1/control.proto").service[0].method[0]


def other_answer(files):
    file_of(files, "flowawr/v1/control.proto").service[0].method[0].output_type = ".flowawr.v1.RunConfig"


def stream(files):
    file_of(files, "flowawr/v1/control.proto").service[0].method[0].client_streaming = True


def remove_service(files):
    del file_of(files, "flowawr/v1/control.proto").service[:]


@pytest.mark.parametrize("change", [remove_field, renumber, rename, retype, repeat, leave_oneof, remove_message,
                                    remove_value, rename_value,
                                    remove_method, other_answer, stream, remove_service],
                         ids=lambda change: change.__name__)
def test_what_would_break_somebody_is_found(change):
    now = load(BASELINE)
    change(now)
    assert breaks(load(BASELINE), now)


def test_additions_break_nobody():
    now = load(BASELINE)
    message(now, "Prompt").field.add(name="colour", number=900, type=pb.FieldDescriptorProto.TYPE_STRING,
                                     label=pb.FieldDescriptorProto.LABEL_OPTIONAL, json_name="colour")
    file_of(now, "flowawr/v1/config.proto").enum_type[0].value.add(name="FLOAT8", number=9)
    file_of(now, "flowawr/v1/control.proto").message_type.add(name="New")
    assert breaks(load(BASELINE), now) == []
