"""manifest.json: what a bundle holds, where it came from, and the checksum of every file.

The manifest's own SHA-256 is the bundle's digest. It holds no time, no host and no path, so that exporting
the same model twice gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from mlops_kit.errors import BundleError
from mlops_kit.schema import DTYPES, Signature

FILE_NAME = "manifest.json"
FORMAT = 1
MAX_BYTES = 16 * 2**20


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
        document = {"format": FORMAT, **asdict(self), "signature": self.signature.to_json()}
        return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"


def digest_of(manifest: bytes) -> str:
    """The digest that names a bundle: "sha256:" and the hash of its manifest."""
    return "sha256:" + hashlib.sha256(manifest).hexdigest()


def parse_manifest(data: bytes) -> Manifest:
    """Read and check a manifest that nobody vouches for. Raises BundleError with the reason."""
    try:
        document = json.loads(data, object_pairs_hook=_refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise BundleError(FILE_NAME, f"it is not valid JSON ({error})") from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        found = document.get("format") if isinstance(document, dict) else type(document).__name__
        raise BundleError(
            FILE_NAME, f"format {found!r}, and this mlkit reads format {FORMAT}", "export again, or upgrade mlkit"
        )
    try:
        manifest = Manifest(
            name=str(document["name"]),
            source=Source(**document["source"]),
            signature=Signature.from_json(document["signature"]),
            row_block=int(document["row_block"]),
            parameters=Parameters(**document["parameters"]),
            parity=Parity(**{**document["parity"], "notes": tuple(document["parity"]["notes"])}),
            files=tuple(FileEntry(**entry) for entry in document["files"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BundleError(FILE_NAME, f"a field is missing or of the wrong shape ({error})") from error
    _check_files(manifest.files)
    _check_signature(manifest)
    return manifest


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a key occurs twice")
    return document


def _check_files(files: tuple[FileEntry, ...]) -> None:
    seen: set[str] = set()
    for entry in files:
        name = entry.name
        if (
            not isinstance(name, str)
            or not name
            or name in {".", "..", FILE_NAME}
            or {"/", "\\", "\0"} & set(name)
        ):
            raise BundleError(FILE_NAME, f"it lists {name!r}, which is not a plain file name inside the bundle")
        if name in seen:
            raise BundleError(FILE_NAME, f"it lists {name!r} twice")
        if not isinstance(entry.size, int) or entry.size < 0 or not isinstance(entry.sha256, str):
            raise BundleError(FILE_NAME, f"size or checksum of {name!r} is malformed")
        seen.add(name)
    if "model.onnx" not in seen:
        raise BundleError(FILE_NAME, "it lists no model.onnx")


def _check_signature(manifest: Manifest) -> None:
    signature = manifest.signature
    dtypes = [part.dtype for parts in (signature.columns, signature.tensors, signature.outputs) for part in parts]
    if unknown := [dtype for dtype in dtypes if dtype not in DTYPES]:
        raise BundleError(FILE_NAME, f"its signature has the unknown dtype {unknown[0]!r}")
    names = [column.name for column in signature.columns]
    wanted = [name for tensor in signature.tensors for name in tensor.columns]
    if sorted(names) != sorted(wanted) or len(set(names)) != len(names):
        raise BundleError(FILE_NAME, "the columns and the tensors of its signature do not match")
    if any(
        t.layout not in ("matrix", "array") or (t.layout == "array") > (len(t.columns) == 1)
        for t in signature.tensors
    ):
        raise BundleError(FILE_NAME, "its signature has a tensor of unknown layout")
    if not 1 <= manifest.row_block <= 64:
        raise BundleError(FILE_NAME, f"row_block {manifest.row_block} is out of range")
