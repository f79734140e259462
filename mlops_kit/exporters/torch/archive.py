"""Read a .pt2 file (torch.export.save) without executing anything of it.

`torch.export.load` trusts its file: it unpickles tensors and sample inputs, loads compiled libraries, looks
operators up by any name, evaluates size expressions as Python, imports the modules that a tree specification
names, and generates Python code from the names in the graph. So the archive is not given to it as it is. Its
parts are read, everything that is not plain tensors and plain arithmetic is refused, and a new archive is
written in memory of what passed.

Layout: torch/export/pt2_archive; schema of the graph: torch/_export/serde/schema.py.
"""

import ast
import io
import json
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mlops_kit.errors import SourceError

FORMAT = "archive_format"
GRAPH = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLE_INPUTS = "data/sample_inputs/model.pt"
LEGACY_GRAPH = "serialized_exported_program.json"

COPIED = re.compile(
    r"archive_format|archive_version|byteorder|(\.data/)?version|data/weights/weight_\d+|data/constants/tensor_\d+"
)
IGNORED = re.compile(r"data/sample_inputs/.*|extra/.*|\.data/serialization_id|")
DAMAGE = (
    zipfile.BadZipFile,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RecursionError,
)
NAME = re.compile(r"[\w.\-]*", re.ASCII)
OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|quantized_decomposed|torchvision)\.(?!save\b|from_file\b)\w+\.\w+"
    r"|torch\.ops\.higher_order\.(cond|while_loop|scan|wrap_with_set_grad_enabled|wrap_with_autocast)"
    r"|torch\.sym_\w+|torch\._sym_\w+|math\.\w+"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|pos|abs|and_|or_|not_|eq|ne|lt|le|gt|ge)",
    re.ASCII,
)
TREES = (
    None,
    "builtins.tuple",
    "builtins.list",
    "builtins.dict",
    "collections.OrderedDict",
    "collections.namedtuple",
)
FUNCTIONS = {
    "Symbol", "Integer", "Float", "Rational", "Max", "Min", "Abs", "And", "Or", "Not", "Eq", "Ne", "Lt", "Le",
    "Gt", "Ge", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv", "CeilToInt",
    "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow", "FloatTrueDiv", "IntTrueDiv",
    "TruncToFloat", "IsNonOverlappingAndDenseIndicator", "TruncToInt", "RoundToInt", "RoundDecimal", "ToFloat",
    "Identity", "Add", "Mul", "Pow", "floor", "ceiling", "Equality", "Unequality", "StrictGreaterThan",
    "GreaterThan", "StrictLessThan", "LessThan",
}  # fmt: skip
ARITHMETIC = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.BoolOp,
    ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip


def is_archive(path: Path, head: bytes) -> bool:
    """Whether a file is what torch.export.save writes, in its present or its former layout."""
    if not head.startswith(b"PK\x03\x04"):
        return False
    # The first entry tells even where the file is cut off, and with it the directory at its end.
    if any(name in head[:512] for name in (b"/data/weights/", b"/data/constants/", b"/models/model.json")):
        return True
    try:
        with zipfile.ZipFile(path) as archive:
            names = {_within(name) for name in archive.namelist()} | set(archive.namelist())
    except (zipfile.BadZipFile, OSError):
        return False
    return LEGACY_GRAPH in names or {FORMAT, GRAPH} <= names


def clean_archive(path: Path) -> io.BytesIO:
    """An archive for torch.export.load with the plain parts of the one at `path`. Raises SourceError."""
    try:
        parts = {name: kept for name, data in _entries(path).items() if (kept := _clean(name, data)) is not None}
    except DAMAGE as error:
        raise SourceError(f"{path} cannot be read", f"it is damaged or cut off ({error})") from error
    except _RefusedError as refusal:
        raise SourceError(
            f"{path} is refused",
            f"it holds {refusal}, and PyTorch would run code to read that",
            "if you trust where it comes from, torch.export.load it yourself and give mlops_kit.export the result",
        ) from refusal
    return _pack(parts)


def _entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        if LEGACY_GRAPH in archive.namelist():
            raise SourceError(
                f"{path} has the layout of PyTorch 2.7 and older",
                "mlkit does not read it, because reading it unpickles",
                "load it and save it again with torch.export.save of a newer PyTorch",
            )
        entries = {_within(name): archive.read(name) for name in archive.namelist()}
    if missing := {FORMAT, GRAPH} - set(entries):
        raise ValueError(f"there is no {min(missing)} in it")
    return entries


class _RefusedError(Exception):
    """Something in the archive is more than tensors and arithmetic; says what."""


def _within(name: str) -> str:
    """An entry's name without the folder that all of them are in."""
    return name.partition("/")[2]


def _pack(parts: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in parts.items():
            archive.writestr(f"model/{name}", data)
        archive.writestr(f"model/{SAMPLE_INPUTS}", b"")
    buffer.seek(0)
    return buffer


def _clean(name: str, data: bytes) -> bytes | None:
    """What is kept of an entry; None if nothing is needed of it."""
    if COPIED.fullmatch(name):
        return data
    if IGNORED.fullmatch(name):
        return None
    if name == GRAPH:
        return json.dumps(_checked(json.loads(data))).encode()
    if name in (WEIGHTS, CONSTANTS):
        document = json.loads(data)
        _check_payloads(document)
        return json.dumps(_checked(document)).encode()
    raise _RefusedError(f"{name!r}")


def _check_payloads(document: Any) -> None:
    for name, payload in document["config"].items():
        if payload["use_pickle"] or not payload["path_name"].startswith(("weight_", "tensor_")):
            raise _RefusedError(f"a pickle for {name!r}")


def _checked(value: Any, key: str = "") -> Any:
    """The same document for the CPU and without notes on its source; every string is harmless where it stands."""
    if isinstance(value, dict):
        if set(value) == {"type", "index"}:
            return {"type": "cpu", "index": None}
        return {
            _check_name(name): {} if name == "metadata" else [] if name == "guards_code" else _checked(part, name)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [_checked(part, key) for part in value]
    if isinstance(value, str):
        return CHECKS.get(key, _check_name)(value)
    return value


def _check_name(text: str) -> str:
    # Names end in Python code that PyTorch generates and executes.
    if not NAME.fullmatch(text):
        raise _RefusedError(f"the name {text[:80]!r}")
    return text


def _check_operator(text: str) -> str:
    if not OPERATOR.fullmatch(text):
        raise _RefusedError(f"the operator {text[:80]!r}")
    return text


def _check_expression(text: str) -> str:
    """A size such as "2*Symbol('s77', positive=True)"; PyTorch has SymPy evaluate it."""
    try:
        nodes = list(ast.walk(ast.parse(text, mode="eval")))
    except (SyntaxError, ValueError) as error:
        raise _RefusedError(f"the size {text[:80]!r}") from error
    for node in nodes:
        harmless = isinstance(node, ARITHMETIC)
        if isinstance(node, ast.Call):
            harmless = isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS
        elif isinstance(node, ast.Constant):
            harmless = not isinstance(node.value, str) or node.value.isidentifier()
        if not harmless:
            raise _RefusedError(f"the size {text[:80]!r}")
    return text


def _check_input_tree(text: str) -> str:
    _check_tree(json.loads(text)[1], _check_name)
    return text


def _check_output_tree(text: str) -> str:
    _check_tree(json.loads(text)[1], lambda name: name)
    return text


def _check_tree(tree: Any, check_key: Callable[[str], str]) -> None:
    """A tree specification: only plain containers, and no enumerations, which are imported by name."""
    if tree["type"] not in TREES:
        raise _RefusedError(f"a {tree['type']} among the inputs or outputs")
    context = tree["context"]
    if isinstance(context, str):
        context = json.loads(context) if context.startswith(("[", "{", "null", '"')) else context
    for name in context if isinstance(context, list) else [context]:
        if not isinstance(name, str | int | None):
            raise _RefusedError("a key that is neither text nor a number")
        if isinstance(name, str):
            check_key(name)
    for child in tree["children_spec"]:
        _check_tree(child, check_key)


CHECKS: Mapping[str, Callable[[str], str]] = {
    "target": _check_operator,
    "as_operator": _check_operator,
    "expr_str": _check_expression,
    "in_spec": _check_input_tree,
    "out_spec": _check_output_tree,
    "as_string": str,  # PyTorch quotes it: "bij,jk->bik" of einsum
    "as_strings": str,
    "torch_version": str,
}
