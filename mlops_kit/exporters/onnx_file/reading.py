"""Recognise and read an ONNX file, with the weights that lie beside it."""

from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from mlops_kit.bundle.graph import external_tensors
from mlops_kit.errors import SourceError

VARINT, BYTES = 0, 2
GRAPH = 7
MODEL_FIELDS: Mapping[int, int] = {
    1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, GRAPH: BYTES,
    8: BYTES, 14: BYTES, 20: BYTES, 25: BYTES, 26: BYTES,
}  # fmt: skip
"""Field → wire type of ModelProto, from onnx.proto."""
TEXT_FIELDS = (2, 3, 4)
GRAPH_TAGS = frozenset(field << 3 | BYTES for field in (1, 2, 5, 10, 11, 12, 13, 14, 15))
NEWEST_IR = 63
"""Far beyond any version that exists (14), and still one byte."""


def looks_like_onnx(path: Path, head: bytes) -> bool:
    """Whether a file has the structure of a ModelProto: only its fields, and a graph among them.

    Every writer of Protocol buffers puts field 1, the IR version, first. A file that is cut off inside the
    graph is taken for one, too, so that reading it can say so.
    """
    if len(head) < 2 or head[0] != 1 << 3 or not 0 < head[1] <= NEWEST_IR:
        return False
    with path.open("rb") as file:
        file.seek(2)
        return _reaches_graph(file)


def read_onnx(path: Path) -> onnx.ModelProto:
    """Parse a file and take in its external data. Raises SourceError."""
    try:
        model = onnx.load_model(path, format="protobuf", load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise SourceError(
            f"{path} cannot be read", "its ONNX content is damaged or cut off", "write or copy the file again"
        ) from error
    if not model.graph.output:
        raise SourceError(f"{path} holds no ONNX graph", "it has no outputs", "export the model again")
    folder = path.absolute().parent
    for tensor in external_tensors(model):
        _check_external(path, tensor, folder)
    try:
        onnx.load_external_data_for_model(model, str(folder))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        line = str(error).split("\n", 1)[0]
        raise SourceError(f"{path}: its weights cannot be read", line, "copy the files again") from error
    return model


def _reaches_graph(file: BinaryIO) -> bool:
    while (tag := _read_varint(file)) is not None:
        field, wire = tag >> 3, tag & 7
        if MODEL_FIELDS.get(field) != wire or (size := _read_varint(file)) is None:
            return False
        if field == GRAPH:
            return size > 1 and file.read(1)[:1] in {bytes([graph_tag]) for graph_tag in GRAPH_TAGS}
        if field in TEXT_FIELDS and not _is_text(file.read(min(size, 1024))):
            return False
        if wire == BYTES and field not in TEXT_FIELDS:
            file.seek(size, 1)
    return False


def _is_text(data: bytes) -> bool:
    try:
        return data.decode().isprintable()
    except UnicodeDecodeError:
        return False


def _read_varint(file: BinaryIO) -> int | None:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            return None
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    return None


def _check_external(path: Path, tensor: onnx.TensorProto, folder: Path) -> None:
    """Refuse weights outside of the file's own folder, and ranges that are not there."""
    fields = {entry.key: entry.value for entry in tensor.external_data}
    location = Path(fields.get("location", ""))
    where = f"{path}: the weights of {tensor.name!r}"
    if location.is_absolute() or ".." in location.parts or not location.parts:
        raise SourceError(f"{where} are refused", f"they lie in {str(location)!r}, outside of the file's folder")
    target = folder / location
    if any(
        part.is_symlink() for part in (target, *target.parents) if part.is_relative_to(folder) and part != folder
    ):
        raise SourceError(f"{where} are refused", f"{location} is a symbolic link", "put the file itself there")
    if not target.is_file():
        raise SourceError(f"{where} are missing", f"there is no {location} beside it", "copy that file, too")
    try:
        offset, length = int(fields.get("offset", "0")), int(fields.get("length", "0"))
    except ValueError as error:
        raise SourceError(f"{where} are refused", "their offset or length is no number") from error
    if offset < 0 or length < 0 or offset + length > target.stat().st_size:
        raise SourceError(
            f"{where} are cut off",
            f"they reach to byte {offset + length} of {location}, which has {target.stat().st_size}",
            "copy the files again",
        )
