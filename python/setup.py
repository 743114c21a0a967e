"""Puts the protocol into the package: proto/flowawr/v1/reward.proto as a compiled description, which every version of
the protobuf runtime reads, rather than as generated code, which binds a wheel to the version that made it."""

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

SOURCE = "flowawr/v1/reward.proto"
HERE = Path(__file__).resolve().parent
# In a source distribution the protocol lies beside this file, in a checkout beside this folder.
PROTO = next((folder for folder in (HERE / "proto", HERE.parent / "proto") if (folder / SOURCE).exists()), None)
if PROTO is None:
    raise SystemExit(f"{SOURCE} is missing: build from a whole checkout, or from a source distribution")


class BuildWithProtocol(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:  # a checkout compiles it when it is imported
            from grpc_tools import protoc

            made = Path(self.build_lib) / "flowawr_reward" / "reward.binpb"
            if protoc.main(["protoc", f"-I{PROTO}", f"--descriptor_set_out={made}", SOURCE]) != 0:
                raise SystemExit(f"{PROTO / SOURCE} cannot be compiled")


class SdistWithProtocol(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        target = Path(base_dir) / "proto" / SOURCE
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PROTO / SOURCE, target)


setup(cmdclass={"build_py": BuildWithProtocol, "sdist": SdistWithProtocol})
