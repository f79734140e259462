"""Keys as bytes: typed, and the same one by one as all at once."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import InputError
from mlops_kit.features.definition.expressions.columns import DTYPES
from mlops_kit.features.definition.feature_set import Kind
from mlops_kit.features.keys import MOST_BYTES, encode_key, encode_keys

VALUES: dict[Kind, st.SearchStrategy[Any]] = {
    "int64": st.integers(-(2**63), 2**63 - 1) | st.sampled_from([0, 1, -1]) | st.none(),
    "string": st.text("ab%|7C1i", max_size=4) | st.text(max_size=3) | st.none(),
    "bool": st.booleans() | st.none(),
}
KINDS: list[Kind] = ["int64", "string", "bool"]


@given(st.data())
def test_one_by_one_or_all_at_once_keys_are_the_same_bytes(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(KINDS), min_size=1, max_size=3))
    rows = data.draw(st.lists(st.tuples(*(VALUES[kind] for kind in kinds)), max_size=20))
    names = [str(place) for place in range(len(kinds))]
    frame = pl.DataFrame(
        rows, schema={name: DTYPES[kind] for name, kind in zip(names, kinds, strict=True)}, orient="row"
    )
    codes, keys = encode_keys(frame, names, kinds)
    assert [None if code < 0 else keys[code] for code in codes] == [encode_key(row, kinds) for row in rows]
    assert len(set(keys)) == len(keys)


@given(
    st.lists(st.lists(st.text("ab|%7C", max_size=3), min_size=2, max_size=2).map(tuple), max_size=20, unique=True)
)
def test_different_keys_have_different_bytes(keys: list[tuple[str, str]]) -> None:
    assert len({encode_key(key, ["string", "string"]) for key in keys}) == len(keys)


@pytest.mark.parametrize(
    ("values", "kinds", "key"),
    [
        ([17], ["int64"], b"i17"),
        (["JFK"], ["string"], b"sJFK"),
        ([True], ["bool"], b"b1"),
        ([1, "a|b%"], ["int64", "string"], b"i1|sa%7Cb%25"),
        ([1, None], ["int64", "string"], None),
    ],
)
def test_stored_keys_are_found_again_only_if_these_bytes_stay(
    values: list[Any], kinds: list[Kind], key: bytes | None
) -> None:
    assert encode_key(values, kinds) == key


def test_a_key_longer_than_a_store_takes_is_its_digest() -> None:
    long = encode_key(["x" * MOST_BYTES], ["string"])
    assert long is not None
    assert long[:1] == b"h"
    assert len(long) == 65
    assert encode_keys(pl.DataFrame({"k": ["x" * MOST_BYTES]}), ["k"], ["string"])[1] == [long]


@pytest.mark.parametrize(
    ("value", "kind"),
    [("1", "int64"), (1, "string"), (True, "int64"), (1, "bool"), (1.0, "int64"), (2**63, "int64")],
)
def test_a_value_of_another_type_is_no_key_and_is_not_repeated(value: Any, kind: Kind) -> None:
    with pytest.raises(InputError) as refusal:
        encode_key([value], [kind])
    assert "field 1 of the key" in str(refusal.value)
    with pytest.raises(InputError, match="the key 'shop' is"):
        encode_key([value], [kind], ["shop"])
    with pytest.raises(InputError, match="key 'k'"):
        encode_keys(pl.DataFrame({"k": [value]}), ["k"], [kind])
