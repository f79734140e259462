"""The random histories have what the tests that use them are about."""

from hypothesis import Phase, given, settings

from tests.features.histories import Case, cases, has_ties, times_in_windows


def test_most_histories_have_events_in_windows_and_many_have_equal_times_there() -> None:
    seen = []

    @settings(max_examples=100, derandomize=True, database=None, phases=[Phase.generate])
    @given(cases())
    def collect(case: Case) -> None:
        seen.append(times_in_windows(case))

    collect()
    assert sum(any(windows) for windows in seen) > 0.55 * len(seen)
    assert sum(map(has_ties, seen)) > 0.15 * len(seen)
