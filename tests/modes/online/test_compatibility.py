"""Which model may take the place of another unasked."""

from dataclasses import replace

import pytest

from mlops_kit.modes.online.compatibility import explain_change
from mlops_kit.schema import Column, Output, Signature, Tensor

A, B, NEW = Column("a", "int32"), Column("b", "string", nullable=True), Column("new", "float32")
ANSWER = Output("answer", "float32", "answer")
OLD = Signature((A, B), (Tensor("t", "float32", ("a", "b"), "matrix"),), (ANSWER,))

CHANGES: dict[str, tuple[Signature, str]] = {
    "the same": (OLD, ""),
    "a missing value is taken": (replace(OLD, columns=(replace(A, nullable=True), B)), ""),
    "a wider number is taken": (replace(OLD, columns=(replace(A, dtype="float64"), B)), ""),
    "other tensors": (replace(OLD, tensors=()), ""),
    "one more column": (replace(OLD, columns=(A, B, NEW)), "it has the new columns 'new'"),
    "one column fewer": (replace(OLD, columns=(A,)), "it no longer has the columns 'b'"),
    "another order": (replace(OLD, columns=(B, A)), "it has its columns in another order"),
    "a narrower number": (replace(OLD, columns=(replace(A, dtype="int8"), B)), "it has others for columns 'a'"),
    "text": (replace(OLD, columns=(replace(A, dtype="string"), B)), "it has others for columns 'a'"),
    "another shape": (replace(OLD, columns=(replace(A, shape=(2,)), B)), "it has others for columns 'a'"),
    "no missing value": (replace(OLD, columns=(A, replace(B, nullable=False))), "it has others for columns 'b'"),
    "another output": (
        replace(OLD, outputs=(replace(ANSWER, name="price"),)),
        "it no longer has the outputs 'answer', it has the new outputs 'price'",
    ),
    "a wider output": (replace(OLD, outputs=(replace(ANSWER, dtype="float64"),)), "it has others for outputs 'answer'"),
}  # fmt: skip


@pytest.mark.parametrize(("new", "said"), CHANGES.values(), ids=CHANGES)
def test_what_clients_would_stumble_over_is_told(new: Signature, said: str) -> None:
    assert explain_change(OLD, new) == said


FEATURE = Column("feature", "float64", nullable=True)
OPTIONAL: dict[str, tuple[tuple[Column, ...], set[str], str]] = {
    "one more": ((A, B, FEATURE, NEW), {"feature", "new"}, ""),
    "another order": ((A, FEATURE, B), {"feature"}, ""),
    "one fewer": ((A, B), set(), "it no longer has the columns 'feature'"),
    "needed from now on": ((A, B, FEATURE), set(), "it has the new columns 'feature'"),
    "text": ((A, B, replace(FEATURE, dtype="string")), {"feature"}, "it has others for columns 'feature'"),
}


@pytest.mark.parametrize(("columns", "optional", "said"), OPTIONAL.values(), ids=OPTIONAL)
def test_columns_that_may_be_left_out_may_become_more(
    columns: tuple[Column, ...], optional: set[str], said: str
) -> None:
    old, new = replace(OLD, columns=(A, B, FEATURE)), replace(OLD, columns=columns)
    assert explain_change(old, new, {"feature"}, optional) == said
