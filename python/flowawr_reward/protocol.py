"""Messages of proto/flowawr/v1/reward.proto, made from its compiled description when this is imported.

No generated code: that would bind the package to the protobuf version that generated it. And no global pool: a process
that has the messages already, from code of its own, keeps them.

The messages have no static types; service.py, which fills and reads them, is the only one that sees them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "flowawr.v1.RewardService"
_SOURCE = "flowawr/v1/reward.proto"
_HERE = Path(__file__).resolve().parent


def _description() -> bytes:
    made = _HERE / "reward.binpb"  # by the build
    if made.exists():
        return made.read_bytes()
    proto = _HERE.parent.parent / "proto"
    try:
        from grpc_tools import protoc
    except ImportError:
        raise ImportError(f"{made} is missing, and so is grpcio-tools to make it: pip install {_HERE.parent}") from None
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "reward.binpb"
        if protoc.main(["protoc", f"-I{proto}", f"--descriptor_set_out={compiled}", _SOURCE]) != 0:
            raise ImportError(f"{proto / _SOURCE} cannot be compiled")
        return compiled.read_bytes()


def _make_pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(_description()).file:
        pool.AddSerializedFile(file.SerializeToString())
    return pool


_pool = _make_pool()


def message(name: str) -> Any:
    """The class of a message, such as "ScoreRequest"."""
    return message_factory.GetMessageClass(_pool.FindMessageTypeByName(f"flowawr.v1.{name}"))


def methods() -> dict[str, tuple[Any, Any]]:
    """Classes of request and response of every call of the service, by its name."""
    service = _pool.FindServiceByName(SERVICE)
    return {
        each.name: tuple(message_factory.GetMessageClass(side) for side in (each.input_type, each.output_type))
        for each in service.methods
    }
