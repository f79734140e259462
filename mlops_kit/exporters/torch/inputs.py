"""How a sample's columns become a network's inputs: by the names of forward's parameters, or side by side."""

import inspect
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mlops_kit.errors import MissingColumnsError, MlkitError, SampleError, listed
from mlops_kit.exporters.torch.graph import FAILURES, reason_of
from mlops_kit.schema import Array, Column, Columns, Signature, Tensor

MOST_ATTEMPTS = 64


@dataclass(frozen=True, slots=True)
class Forward:
    """The parameters of a network's forward() and the dtype of its weights."""

    required: tuple[str, ...]
    optional: tuple[str, ...]
    dtype: str

    @staticmethod
    def of(forward: Callable[..., object], dtype: str) -> "Forward":
        """Read the parameters. Raises SampleError where they are not named."""
        collected = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = [p for p in inspect.signature(forward).parameters.values() if p.kind not in collected]
        if not parameters:
            raise SampleError(
                "forward() names no inputs",
                "it takes only *args, **kwargs, or nothing",
                "wrap the network in a module whose forward() names its inputs",
            )
        required = tuple(p.name for p in parameters if p.default is p.empty)
        return Forward(required, tuple(p.name for p in parameters if p.default is not p.empty), dtype)


def bind(forward: Forward, sample: Columns, run: Callable[[Signature], object]) -> Signature:
    """The first way of feeding the sample that the network runs with; the signature has no outputs yet.

    Raises MissingColumnsError where columns named like parameters are missing, and SampleError otherwise.
    """
    _check_sample(forward, sample)
    first: Exception | None = None
    for signature in itertools.islice(_candidates(forward, sample), MOST_ATTEMPTS):
        try:
            run(signature)
        except (*FAILURES, MlkitError) as error:
            first = first or error
        else:
            return signature
    if first is None:
        raise _no_candidate(forward, sample)
    raise SampleError(
        "the network cannot run on the sample",
        reason_of(first),
        f"forward() takes {listed(forward.required)}; give columns of these names, shapes and dtypes",
    ) from first


def _check_sample(forward: Forward, sample: Columns) -> None:
    if not sample or not len(next(iter(sample.values()))):
        raise SampleError("the sample has no rows", fix="give at least one row")
    used = forward.required if set(forward.required) <= set(sample) else tuple(sample)
    texts = [name for name in used if sample[name].dtype.kind not in "fiub"]
    if texts:
        raise SampleError(
            f"a network takes numbers, and {listed(texts)} holds none", fix="leave it out, or encode it"
        )


def _no_candidate(forward: Forward, sample: Columns) -> MlkitError:
    missing = [name for name in forward.required if name not in sample]
    if missing and len(forward.required) > 1:
        return MissingColumnsError(missing, sample)
    return SampleError(
        f"the sample does not fit forward({', '.join(forward.required)})",
        f"it has {listed(list(sample))}",
        "give one column per parameter, or single numbers for a network with one input",
    )


def _candidates(forward: Forward, sample: Columns) -> Iterator[Signature]:
    """Ways of feeding the sample, the most particular first."""
    known = {*forward.required, *forward.optional}
    named = [name for name in (*forward.required, *forward.optional) if name in sample]
    complete = bool(named) and set(forward.required) <= set(sample)
    if complete and set(sample) <= known:
        yield from _one_per_parameter({name: name for name in named}, sample, forward.dtype)
    single = forward.required[0] if len(forward.required) == 1 else None
    if single and all(values.ndim == 1 for values in sample.values()):
        yield from _side_by_side(single, sample, forward.dtype)
    if single and len(sample) == 1:
        yield from _one_per_parameter({single: next(iter(sample))}, sample, forward.dtype)
    if complete:
        yield from _one_per_parameter({name: name for name in named}, sample, forward.dtype)


def _one_per_parameter(columns: dict[str, str], sample: Columns, dtype: str) -> Iterator[Signature]:
    choices = [_dtypes(sample[column], dtype) for column in columns.values()]
    for dtypes in itertools.product(*choices):
        pairs = list(zip(columns.items(), dtypes, strict=True))
        yield Signature(
            tuple(Column(column, kind, sample[column].shape[1:]) for (_, column), kind in pairs),
            tuple(Tensor(parameter, kind, (column,), "array") for (parameter, column), kind in pairs),
            (),
        )


def _side_by_side(parameter: str, sample: Columns, dtype: str) -> Iterator[Signature]:
    whole = all(values.dtype.kind in "iub" for values in sample.values())
    for kind in (dtype, "int64") if whole else (dtype,):
        columns = tuple(Column(name, kind) for name in sample)
        yield Signature(columns, (Tensor(parameter, kind, tuple(sample), "matrix"),), ())


def _dtypes(values: Array, dtype: str) -> list[str]:
    """What a column may be to the network: token ids, what it is, or numbers like the weights."""
    kind = values.dtype.kind
    if kind == "f":
        return [dtype]
    given = values.dtype.name
    # Unsigned bytes are images, and a network may well compute with them as they are.
    return list(
        dict.fromkeys({"i": ["int64", given, dtype], "u": [given, "int64", dtype]}.get(kind, [given, dtype]))
    )


def some_rows(columns: Columns, count: int) -> dict[str, Array]:
    """The first `count` rows, over again where there are fewer."""
    rows = np.arange(count) % len(next(iter(columns.values())))
    return {name: values[rows] for name, values in columns.items()}
