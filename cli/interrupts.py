"""Ctrl-C, also where it comes while a library is at work that makes another error of it, or none."""

import signal
import sys
from typing import Any, NoReturn


class Interrupts:
    """Watches for it, as the process does by default: where it is ignored, as below nohup, it stays so."""

    def __init__(self) -> None:
        self.has_come = False
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._note)

    def _note(self, _signal: int, _frame: object) -> NoReturn:
        self.has_come = True
        # What is being cleaned up may be interrupted once more, by a library that heard of it, too.
        sys.unraisablehook = _say_nothing
        raise KeyboardInterrupt


def _say_nothing(_unraisable: Any) -> None:
    """Of what cannot be raised where it happens."""
