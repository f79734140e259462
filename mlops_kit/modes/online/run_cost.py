"""How long a run of the model will take, from those before."""

INLINE_S = 0.0005
"""A run that is expected to take less is made on the event loop."""

MEMORY = 0.9
"""How much of the estimate the next run leaves."""


class RunCost:
    """So much for any run, and so much for each row."""

    __slots__ = ("_base_s", "_row_s")

    def __init__(self) -> None:
        self._base_s = 0.0
        self._row_s = 0.0

    def is_short(self, rows: int) -> bool:
        """Whether a run may hold up the event loop. What was never measured may not."""
        expected = self._base_s + rows * (self._row_s or self._base_s)
        return 0 < expected < INLINE_S

    def learn(self, seconds: float, rows: int) -> None:
        """What a run took: those of one row teach the base, others what each row adds."""
        if rows == 1:
            self._base_s = MEMORY * self._base_s + (1 - MEMORY) * seconds if self._base_s else seconds
        else:
            each = max(0.0, seconds - self._base_s) / rows
            self._row_s = MEMORY * self._row_s + (1 - MEMORY) * each if self._row_s else each
