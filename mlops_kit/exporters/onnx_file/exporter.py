"""ONNX: a file, with its weights inside or beside it, or a ModelProto. Its own graph is what is served."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from mlops_kit.assembly import assemble
from mlops_kit.bundle.graph import external_tensors, foreign_operators
from mlops_kit.errors import BundleError, ConversionError, InputError, SampleError, SourceError
from mlops_kit.exporters.graphs.inputs import GraphInput, bind_columns
from mlops_kit.exporters.graphs.inspection import DTYPE_NAMES, dims_of, real_inputs, strip_traces
from mlops_kit.exporters.interface import Conversion, Sample, SourceModel
from mlops_kit.exporters.onnx_file.outputs import PROBED_ROWS, Answer, declare_outputs, find_answers, read_answers
from mlops_kit.exporters.onnx_file.reading import looks_like_onnx, read_onnx
from mlops_kit.frames import select_rows
from mlops_kit.runtimes.onnx_runtime import OnnxRuntime
from mlops_kit.schema import Array, Columns, Signature


@dataclass(frozen=True, slots=True)
class OnnxFile:
    """A model read from a file; the original is run from there, with the weights where they are."""

    graph: onnx.ModelProto
    path: Path


@dataclass(frozen=True, slots=True)
class Original:
    """The model as it came, run by ONNX Runtime. `rows` is set where its number of rows is fixed."""

    runtime: OnnxRuntime
    signature: Signature
    rows: int | None

    def run(self, columns: Columns) -> dict[str, Any]:
        """Every output of the graph by its name. Raises InputError."""
        tensors = assemble(self.signature, columns)
        return self.runtime.run(tensors) if self.rows is None else self._run_in_pieces(tensors, self.rows)

    def _run_in_pieces(self, tensors: dict[str, Array], size: int) -> dict[str, Any]:
        """As many rows at a time as the graph takes; the last piece is filled up with its first row."""
        count = len(next(iter(tensors.values())))
        pieces = []
        for start in range(0, max(count, 1), size):
            wanted = min(size, count - start)
            rows = start + np.arange(size) % max(wanted, 1)
            fed = {name: t[rows] if count else _zeros(t, size) for name, t in tensors.items()}
            answers = self.runtime.run(fed)
            if any(len(values) != size for values in answers.values()):
                raise InputError(f"the model answers {size} rows with another number of rows")
            pieces.append({name: values[:wanted] for name, values in answers.items()})
        return {name: _join([piece[name] for piece in pieces]) for name in pieces[0]}


def recognises(model: object) -> bool:
    """Whether it is an ONNX model in memory."""
    return isinstance(model, onnx.ModelProto | OnnxFile)


def recognises_file(path: Path, head: bytes) -> bool:
    """Whether a file is an ONNX model, whatever it is called."""
    return looks_like_onnx(path, head)


def read(path: Path) -> object:
    """The model of a file. Raises SourceError."""
    return OnnxFile(read_onnx(path), path)


def adapt(model: object, sample: Sample | None) -> SourceModel:
    """Look at a graph and the sample. Raises SampleError, MissingColumnsError, or ConversionError."""
    source = model if isinstance(model, OnnxFile) else None
    given = source.graph if source else model
    if not isinstance(given, onnx.ModelProto):
        raise SourceError(f"a {type(model).__name__} is no ONNX model")
    columns = sample.columns if sample else None
    runtime = _load(given, source.path if source else None)
    signature = bind_columns(list(_graph_inputs(given.graph, columns)), columns, nullable=True)
    original = Original(runtime, signature, _fixed_rows(given.graph))
    answers = find_answers(given.graph, _observe(original, columns), _varies(signature))
    signature = replace(signature, outputs=tuple(answer.output for answer in answers))
    return SourceModel(
        framework="ONNX",
        versions={"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__},
        description=_describe(given),
        columns=signature.columns,
        reference=lambda rows: read_answers(original.run(rows), answers),
        conversions=lambda: _conversions(given, signature, answers, original),
    )


def _load(model: onnx.ModelProto, path: Path | None) -> OnnxRuntime:
    if path is None and next(external_tensors(model), None) is not None:
        raise SourceError(
            "the ONNX model's weights lie in another file",
            "in memory it does not say where",
            "give the file's path",
        )
    if foreign := foreign_operators(model):
        domain, operator = foreign[0]
        raise ConversionError(
            f"the model calls the operator {operator} of the domain {domain!r}",
            "which ONNX Runtime does not have",
            "export the model with standard ONNX operators only",
        )
    try:
        return OnnxRuntime(path or model.SerializeToString())
    except BundleError as error:
        raise ConversionError(
            "the ONNX model is not one that runs", error.why, "export the model again"
        ) from error


def _graph_inputs(graph: onnx.GraphProto, sample: Columns | None) -> Iterator[GraphInput]:
    inputs = real_inputs(graph)
    if not inputs:
        raise ConversionError("the ONNX model has no inputs", "so it predicts the same for every row")
    for value in inputs:
        dtype = DTYPE_NAMES.get(value.type.tensor_type.elem_type)
        if not value.type.HasField("tensor_type") or dtype is None:
            raise ConversionError(
                f"input {value.name!r} is {_type_name(value.type)}",
                "columns are tensors of numbers, text or booleans",
            )
        shape = dims_of(value)
        if shape is None:
            shape = _shape_from_sample(value.name, sample)
        if not shape:
            raise ConversionError(
                f"input {value.name!r} is one value for all rows", "an input has a value per row"
            )
        yield GraphInput(value.name, dtype, shape[1:])


def _shape_from_sample(name: str, sample: Columns | None) -> tuple[int | None, ...]:
    if sample is None:
        raise SampleError(f"input {name!r} declares no shape", fix="give some rows with --sample")
    return (None, *sample[name].shape[1:]) if name in sample else (None, None)


def _type_name(kind: onnx.TypeProto) -> str:
    if kind.HasField("tensor_type"):
        return f"a tensor of {onnx.TensorProto.DataType.Name(kind.tensor_type.elem_type).lower()}"
    return f"a {(kind.WhichOneof('value') or 'value without a type').removesuffix('_type')}"


def _fixed_rows(graph: onnx.GraphProto) -> int | None:
    """The number of rows that the inputs prescribe, if they do."""
    sizes = {dims[0] for value in real_inputs(graph) if (dims := dims_of(value)) and dims[0] is not None}
    if len(sizes) > 1:
        raise ConversionError(
            "the ONNX model's inputs have different fixed numbers of rows",
            f"their first dimensions are {', '.join(map(str, sorted(sizes)))}",
            "export the model again with a dynamic first dimension",
        )
    return next(iter(sizes), None)


def _varies(signature: Signature) -> bool:
    return any(None in column.shape for column in signature.columns)


def _observe(original: Original, sample: Columns | None) -> dict[str, Any] | None:
    """What the original answers to a few rows; None if it takes no made-up ones."""
    try:
        return original.run(_some_rows(original.signature, sample, PROBED_ROWS))
    except InputError as error:
        if sample is not None:
            raise SampleError("the ONNX model cannot run on the sample", error.what, error.why) from error
        return None


def _some_rows(signature: Signature, sample: Columns | None, count: int) -> dict[str, Array]:
    if sample is not None:
        rows = np.arange(count) % len(next(iter(sample.values())))
        return select_rows({c.name: sample[c.name] for c in signature.columns}, rows)
    return {
        c.name: np.full((count, *(size or 1 for size in c.shape)), "", object)
        if c.dtype == "string"
        else np.zeros((count, *(size or 1 for size in c.shape)), c.dtype)
        for c in signature.columns
    }


def _conversions(
    model: onnx.ModelProto, signature: Signature, answers: Sequence[Answer], original: Original
) -> Iterator[Conversion]:
    """The graph itself: cleaned, with its number of rows open, and without ZipMap."""
    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    strip_traces(graph)
    for value in real_inputs(graph.graph):
        first = value.type.tensor_type.shape.dim
        if first and not first[0].dim_param:
            first[0].dim_param = "batch"
    declare_outputs(graph.graph, answers)
    if original.rows is not None:
        _check_any_rows(graph, signature, original.rows)
    yield Conversion(graph, signature, "the graph's own precision")


def _check_any_rows(graph: onnx.ModelProto, signature: Signature, fixed: int) -> None:
    """Whether a graph that was made for `fixed` rows takes other numbers of them, too."""
    reason = ""
    try:
        runtime = OnnxRuntime(graph.SerializeToString())
        for count in (1, fixed + 1, 2 * fixed + 1):
            answers = runtime.run(assemble(signature, _some_rows(signature, None, count)))
            if any(len(values) != count for values in answers.values()):
                reason = f"{count} rows are answered with another number of rows"
    except (BundleError, InputError) as error:
        reason = error.why
    if reason:
        raise ConversionError(
            f"the ONNX model takes {fixed} row{'s' if fixed > 1 else ''} at a time",
            f"that number is fixed inside of its graph ({reason})",
            "export the model again with a dynamic first dimension",
        )


def _describe(model: onnx.ModelProto) -> str:
    opset = next((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), None)
    by = f" by {model.producer_name} {model.producer_version}".rstrip() if model.producer_name else ""
    return f"graph{by}, {len(model.graph.node)} nodes" + (f", opset {opset}" if opset else "")


def _zeros(tensor: Array, count: int) -> Array:
    shape = (count, *tensor.shape[1:])
    return np.full(shape, "", object) if tensor.dtype == object else np.zeros(shape, tensor.dtype)


def _join(parts: list[Any]) -> Any:
    return [row for part in parts for row in part] if isinstance(parts[0], list) else np.concatenate(parts)
