import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlops_kit.errors import UsageError
from mlops_kit.features.definition.durations import LONGEST_US, UNITS, format_duration, parse_duration


@given(st.integers(0, LONGEST_US))
def test_what_is_written_is_read_again(span_us: int) -> None:
    assert parse_duration(format_duration(span_us), "a span", least_us=0) == span_us


@given(st.integers(1, 100), st.sampled_from(sorted(UNITS)))
def test_a_number_and_a_unit_are_so_many_of_it(number: int, unit: str) -> None:
    assert parse_duration(f"{number}{unit}", "a span") == number * UNITS[unit]


@given(st.text(max_size=12))
def test_anything_else_is_refused(text: str) -> None:
    try:
        span_us = parse_duration(text, "a span")
    except UsageError:
        return
    assert format_duration(span_us)


@pytest.mark.parametrize("text", ["", "h", "1", "1.5h", "1h30m", "١h", "1H", "1 h h", "9" * 5000 + "h"])
def test_no_span_is_guessed(text: str) -> None:
    with pytest.raises(UsageError, match="is no span of time"):
        parse_duration(text, "a span")
