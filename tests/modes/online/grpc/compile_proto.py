"""Compile the protocol's messages: `python -m tests.modes.online.grpc.compile_proto` writes them beside their source."""

import tempfile
from pathlib import Path

import grpc_tools
from grpc_tools import protoc

import mlops_kit.modes.online.grpc.proto as proto

FOLDER = Path(proto.__file__).parent
SOURCE = "open_inference.proto"


def compile_proto() -> tuple[bytes, str]:
    """The descriptors, and the classes' types."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = [f"-I{FOLDER}", f"--descriptor_set_out={folder / 'set'}", f"--pyi_out={folder}", SOURCE]
        if protoc.main([grpc_tools.__name__, *words]):
            raise SystemExit(f"{SOURCE} cannot be compiled")
        return (folder / "set").read_bytes(), (folder / "open_inference_pb2.pyi").read_text()


if __name__ == "__main__":
    descriptors, types = compile_proto()
    (FOLDER / "open_inference.binpb").write_bytes(descriptors)
    (FOLDER / "messages.pyi").write_text(types)
