"""manifest.json: what a bundle holds, where it came from, and the checksum of every file.

The manifest's own SHA-256 is the bundle's digest. It holds no time, no host and no path, so that exporting
the same model twice gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

import msgspec

from mlops_kit.errors import BundleError
from mlops_kit.schema import DTYPES, Signature

FILE_NAME = "manifest.json"
FORMAT = 1
MAX_BYTES = 16 * 2**20
MOST_ROW_BLOCK = 64


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file of the bundle, by its plain name."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Source:
    """What was exported: the framework, the versions of it and of its converter, the model in one line."""

    framework: str
    description: str
    versions: Mapping[str, str]
    variant: str


@dataclass(frozen=True, slots=True)
class Parity:
    """How far the exported model's answers are from the original's.

    `largest_error` is relative: |got - want| / (|want| + the output's typical size); see `parity.py`.
    """

    rows: int
    sample_rows: int
    tolerance: float
    largest_error: float
    worst_output: str
    worst_row: int
    flipped_labels: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """Where the parameter values live: in weights.safetensors, or inside graph nodes (trees, linear models)."""

    weights_tensors: int
    weights_values: int
    weights_bytes: int
    attribute_values: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole document. `row_block`: see `Predictor`."""

    name: str
    source: Source
    signature: Signature
    row_block: int
    parameters: Parameters
    parity: Parity
    files: tuple[FileEntry, ...]

    def to_bytes(self) -> bytes:
        """The file's exact bytes."""
        document = {"format": FORMAT, **asdict(self)}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def digest_of(manifest: bytes) -> str:
    """The digest that names a bundle: "sha256:" and the hash of its manifest."""
    return "sha256:" + hashlib.sha256(manifest).hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """Read and check a manifest that nobody vouches for. Raises BundleError with the reason."""
    try:
        document = json.loads(data, object_pairs_hook=_refuse_duplicates, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(FILE_NAME, f"it is not valid JSON ({error})") from error
    found = document.get("format") if isinstance(document, dict) else type(document).__name__
    if type(found) is not int or found != FORMAT:
        raise BundleError(
            FILE_NAME, f"format {found!r}, and this mlkit reads format {FORMAT}", "export again, or upgrade mlkit"
        )
    try:
        manifest = msgspec.convert(document, Manifest)
    except (msgspec.ValidationError, RecursionError) as error:
        raise BundleError(FILE_NAME, f"a field is missing or of the wrong type ({error})") from error
    _check_files(manifest.files)
    _check_signature(manifest.signature)
    _check_numbers(manifest)
    return manifest


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_files(files: tuple[FileEntry, ...]) -> None:
    seen: set[str] = set()
    for entry in files:
        name = entry.name
        if not is_plain_name(name) or name == FILE_NAME:
            raise BundleError(FILE_NAME, f"it lists {name!r}, which is not a plain file name inside the bundle")
        if name in seen:
            raise BundleError(FILE_NAME, f"it lists {name!r} twice")
        if entry.size < 0:
            raise BundleError(FILE_NAME, f"the size of {name!r} is negative")
        seen.add(name)
    if "model.onnx" not in seen:
        raise BundleError(FILE_NAME, "it lists no model.onnx")


def is_plain_name(name: str) -> bool:
    """Whether a file name can only mean a file directly inside a directory.

    >>> is_plain_name("model.onnx"), is_plain_name("../model.onnx"), is_plain_name("")
    (True, False, False)
    """
    try:
        length = len(name.encode())
    except UnicodeEncodeError:  # a lone surrogate, which JSON can spell
        return False
    return 0 < length <= 255 and name not in {".", ".."} and not {"/", "\\", "\0"} & set(name)


def _check_signature(signature: Signature) -> None:
    dtypes = [part.dtype for parts in (signature.columns, signature.tensors, signature.outputs) for part in parts]
    if unknown := [dtype for dtype in dtypes if dtype not in DTYPES]:
        raise BundleError(FILE_NAME, f"its signature has the unknown dtype {unknown[0]!r}")
    shapes = [*(column.shape for column in signature.columns), *(output.shape for output in signature.outputs)]
    if any(size is not None and size < 0 for shape in shapes for size in shape):
        raise BundleError(FILE_NAME, "its signature has a negative dimension")
    for kind, named in (("tensors", signature.tensors), ("outputs", signature.outputs)):
        names = [part.name for part in named]
        if not names or len(set(names)) != len(names):
            raise BundleError(FILE_NAME, f"its signature has no {kind}, or two of one name")
    columns = [column.name for column in signature.columns]
    wanted = [name for tensor in signature.tensors for name in tensor.columns]
    if sorted(columns) != sorted(wanted) or len(set(columns)) != len(columns):
        raise BundleError(FILE_NAME, "the columns and the tensors of its signature do not match")
    if any(not t.columns or (t.layout == "array" and len(t.columns) > 1) for t in signature.tensors):
        raise BundleError(FILE_NAME, "its signature has a tensor of no column, or an array of several")


def _check_numbers(manifest: Manifest) -> None:
    if not 1 <= manifest.row_block <= MOST_ROW_BLOCK:
        raise BundleError(FILE_NAME, f"row_block {manifest.row_block} is out of range")
    if not 0 < manifest.parity.tolerance < 1:
        raise BundleError(FILE_NAME, f"a tolerance of {manifest.parity.tolerance} makes no sense")
