"""How columns become the inputs of a graph that declares names, dtypes and shapes itself."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mlops_kit.assembly import assemble
from mlops_kit.errors import ColumnValueError, MissingColumnsError, SampleError, listed
from mlops_kit.schema import FLOATS, Column, Columns, Signature, Tensor


@dataclass(frozen=True, slots=True)
class GraphInput:
    """One input; `row_shape` leaves out the first dimension, and has None where a dimension varies."""

    name: str
    dtype: str
    row_shape: tuple[int | None, ...]


def bind_columns(inputs: Sequence[GraphInput], sample: Columns | None, nullable: bool) -> Signature:
    """The columns of the inputs, without outputs yet.

    One matrix takes its column names from the sample; any other input is a column of its own name, a single
    number where it has shape (rows,) or (rows, 1). Single floats are `nullable` as given.
    Raises SampleError or MissingColumnsError where the sample does not fit.
    """
    single = inputs[0] if len(inputs) == 1 else None
    if single and sample is not None and single.name not in sample:
        pairs = [_bind_only(single, sample)]
    else:
        if sample is not None and (missing := [i.name for i in inputs if i.name not in sample]):
            raise MissingColumnsError(missing, sample)
        pairs = [_bind_named(i, i.name, sample) for i in inputs]
    columns = tuple(
        Column(c.name, c.dtype, c.shape, nullable and c.dtype in FLOATS and not c.shape) for c in _columns(pairs)
    )
    signature = Signature(columns, tuple(tensor for tensor, _ in pairs), ())
    if sample is not None:
        _check(signature, sample)
    return signature


def _columns(pairs: Sequence[tuple[Tensor, tuple[int | None, ...]]]) -> Iterator[Column]:
    for tensor, shape in pairs:
        yield from (Column(name, tensor.dtype, shape) for name in tensor.columns)


def _bind_only(only: GraphInput, sample: Columns) -> tuple[Tensor, tuple[int | None, ...]]:
    """The one input of a graph, from columns of other names."""
    width = only.row_shape[0] if len(only.row_shape) == 1 else None
    flat = all(values.ndim == 1 for values in sample.values())
    if len(only.row_shape) == 1 and flat and width in (None, len(sample)):
        return Tensor(only.name, only.dtype, tuple(sample), "matrix"), ()
    if len(sample) == 1:
        return _bind_named(only, next(iter(sample)), sample)
    if width is None:
        raise MissingColumnsError([only.name], sample)
    raise SampleError(
        f"the model takes {width} values per row, and the sample has {len(sample)} columns",
        f"they are {listed(list(sample))}",
        "give the model's columns in its order, without the target and without keys",
    )


def _bind_named(
    graph_input: GraphInput, column: str, sample: Columns | None
) -> tuple[Tensor, tuple[int | None, ...]]:
    """An input from the one column of a given name."""
    name, dtype, shape = graph_input.name, graph_input.dtype, graph_input.row_shape
    if shape == (1,) and (sample is None or sample[column].ndim == 1):
        return Tensor(name, dtype, (column,), "matrix"), ()
    return Tensor(name, dtype, (column,), "array"), shape


def _check(signature: Signature, sample: Columns) -> None:
    try:
        assemble(signature, sample)
    except ColumnValueError as error:
        raise SampleError("the sample does not fit the model", error.what, error.fix) from error
