"""Every error that mlkit raises on purpose.

MlkitError                  what happened, why, what to try next
├── UsageError              the arguments do not make sense together, or name something that is not there
├── MissingExtraError       a Python package that this step needs is not installed
├── SourceError             the thing to export cannot be read or recognised
│   └── UntrustedPickleError    reading it would execute code, and nobody consented
├── SampleError             the sample rows do not fit the model, or cannot be read
├── ConversionError         the model has no faithful ONNX form
│   └── ParityError         it was converted, but answers differently from the original
├── BundleError             a bundle that is damaged, hostile or of an unknown format
├── UnfitRowsError          a batch run has read its rows, and may not publish what they give
│   └── TooManyBadRowsError     more of them cannot be predicted than it may leave out
├── StoppedError            a run was asked to stop, and has saved what was finished
├── StoreError              a server or a disk that predictions are written to, or read from, fails
├── RequestError            a request to a server is not answered with a prediction
│   ├── OverloadedError         too many requests wait already
│   ├── DeadlineError           its time was over first
│   ├── ReadTimeoutError        its body did not come in time
│   ├── TooLargeError           its body is larger than allowed
│   ├── UnsupportedMediaTypeError
│   ├── ModelNotFoundError
│   ├── SourceNotFoundError
│   ├── NotReadyError           its model is not loaded yet
│   ├── FeaturesUnavailableError    the store of its features does not answer
│   ├── UnauthorizedError       it has no key, or a wrong one
│   └── ForbiddenError          its key does not allow it, or nobody's does
└── InputError              rows that the model cannot take
    ├── MissingColumnsError
    └── ColumnValueError

Errors carry facts and own their sentence. They know nothing of HTTP or colour: the server
maps a type to a status, the command line maps it to text and an exit code.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path


class MlkitError(Exception):
    """An expected failure: `what` happened, `why`, and the next thing to try (`fix`)."""

    def __init__(self, what: str, why: str = "", fix: str = "") -> None:
        super().__init__(". ".join(part.rstrip(".") for part in (what, why, fix) if part))
        self.what = what
        self.why = why
        self.fix = fix


class UsageError(MlkitError):
    """The request itself cannot be carried out as given."""


class MissingExtraError(MlkitError):
    """A package of an extra is not installed; names the extra that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs {package}",
            "it is not installed here",
            f"pip install 'mlops-kit[{extra}]'",
        )


class SourceError(MlkitError):
    """The model to export cannot be read, or is of no known kind."""


class UntrustedPickleError(SourceError):
    """A pickle runs code when it is read; that needs the user's consent."""

    def __init__(self, path: str) -> None:
        super().__init__(
            f"{path} is a pickle, and mlkit does not open it unasked",
            "reading a pickle executes whatever code its author put inside",
            "if you trust where the file comes from, add --trust-pickle",
        )


class SampleError(MlkitError):
    """The sample cannot be read, or has a column that no model can take."""


class ConversionError(MlkitError):
    """The model, or a part of it, has no faithful ONNX form."""


class ParityError(ConversionError):
    """The converted model answers differently from the original beyond the tolerance."""


class BundleError(MlkitError):
    """A bundle is refused: names the file and the reason."""

    def __init__(self, file: str, why: str, fix: str = "") -> None:
        super().__init__(f"{file}: refused", why, fix or "export the model again, or fetch the bundle again")
        self.file = file


class UnfitRowsError(MlkitError):
    """The rows were read, and predictions of them would be wrong to publish; nothing was published."""


class TooManyBadRowsError(UnfitRowsError):
    """More rows than allowed cannot be predicted. `commonest` is what is wrong with most of them."""

    def __init__(self, bad: int, rows: int, most: float, errors: Path, commonest: str) -> None:
        super().__init__(
            f"{bad:,} of {rows:,} rows cannot be predicted, more than {most:.2%}; nothing was published",
            f"mostly {commonest}; {errors} has the rows and the reasons",
            "mend the input, or allow more with --max-bad-rows and run again: what is finished is kept",
        )


class StoppedError(MlkitError):
    """The run was asked to stop, and has saved what was finished."""

    def __init__(self, finished: int, units: int) -> None:
        super().__init__(
            "stopped before the end",
            f"{finished} of {units} parts of the input are finished and saved; nothing was published"
            if units
            else "it was still reading, of which nothing is kept",
            "run the same command again" + (": it goes on from there" if units else ""),
        )


class StoreError(MlkitError):
    """What should store predictions does not answer, refuses, or is full. Trying again later may help."""


class RequestError(MlkitError):
    """A request to a server that gets no prediction."""


class OverloadedError(RequestError):
    """The queue is full; the same request may succeed in a moment."""

    def __init__(self, queued: int) -> None:
        super().__init__("too many requests", f"{queued} wait already", "send it again in a moment")


class DeadlineError(RequestError):
    """The request's time was over before its answer was there."""

    def __init__(self) -> None:
        super().__init__("the deadline is over")


class ReadTimeoutError(RequestError):
    """A client is too slow."""

    def __init__(self) -> None:
        super().__init__("the body did not come in time")


class TooLargeError(RequestError):
    """A body has more bytes than allowed, as it is or decompressed."""

    def __init__(self, most: int) -> None:
        super().__init__("the body is too large", f"at most {most:,} bytes are taken", "send fewer rows at a time")


class UnsupportedMediaTypeError(RequestError):
    """A body in a form that is not read; says which are."""

    def __init__(self, found: str, known: Sequence[str]) -> None:
        super().__init__(f"{found or 'nothing'} is not read", f"what is: {', '.join(known)}")


class ModelNotFoundError(RequestError):
    """No model has this name, or not in this version."""

    def __init__(self, name: str, fix: str = "") -> None:
        super().__init__(f"there is no model {name!r}", fix=fix)


class SourceNotFoundError(RequestError):
    """No model takes features from events of this name."""

    def __init__(self, name: str, known: Sequence[str]) -> None:
        fix = suggestion([name], list(known)) if known else "serve a bundle that has some, with --store"
        super().__init__(f"there is no source of events {name!r}", fix=fix)


class NotReadyError(RequestError):
    """The model is there, but not loaded yet."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the model {name!r} is not loaded yet", fix="send it again in a moment")


class FeaturesUnavailableError(RequestError):
    """The store does not answer. Why is not the caller's to know, and is in the log."""

    def __init__(self) -> None:
        super().__init__("the store of the features does not answer", "the server's log says why", "try again")


class UnauthorizedError(RequestError):
    """The request has no key, or a wrong one."""

    def __init__(self) -> None:
        super().__init__("a key is needed", fix="send Authorization: Bearer KEY")


class ForbiddenError(RequestError):
    """What is asked for is not allowed, with any key or with this one."""

    def __init__(self, what: str, fix: str) -> None:
        super().__init__(what, fix=fix)


class InputError(MlkitError):
    """Rows that do not fit the model's signature."""


class MissingColumnsError(InputError):
    """Columns that the model needs are absent; suggests the names that look alike."""

    def __init__(self, missing: Sequence[str], available: Iterable[str]) -> None:
        names = list(available)
        plural = "s" if len(missing) > 1 else ""
        super().__init__(
            f"missing column{plural}: {listed(missing)}",
            f"the input has {listed(names) if names else 'no columns'}",
            suggestion(missing, names) or "check the name, or add the column",
        )
        self.missing = tuple(missing)


class ColumnValueError(InputError):
    """A value of one column cannot become what the model takes; never echoes the value itself."""

    def __init__(self, column: str, expected: str, found: str, row: int | None = None) -> None:
        where = "" if row is None else f", row {row}"
        super().__init__(
            f"column {column!r}{where}: {found} where the model takes {expected}",
            fix=f"give {expected} for {column!r}, or leave the row out",
        )
        self.column = column
        self.expected = expected
        self.found = found
        self.row = row

    def shifted(self, rows: int) -> "ColumnValueError":
        """The same error, `rows` further down: a slice knows only its own row numbers."""
        return ColumnValueError(
            self.column, self.expected, self.found, None if self.row is None else self.row + rows
        )


MOST_NAMES = 8
MOST_COMPARED = 1000
"""Looking for names that look alike takes long, and rows may come from strangers, with a million names."""


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """Names for a message, quoted, not too many.

    >>> listed(["a", "b", "c"], most=2)
    "'a', 'b' and 1 more"
    """
    shown = ", ".join(repr(name) for name in names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def suggestion(wanted: Sequence[str], available: Sequence[str]) -> str:
    """The names that look alike, as a question; empty if there are none.

    >>> suggestion(["dep_dely"], ["dep_delay", "origin"])
    "did you mean 'dep_delay' for 'dep_dely'?"
    """
    compared = available[:MOST_COMPARED]
    pairs = [(name, get_close_matches(name, compared, n=1)) for name in wanted[:MOST_NAMES]]
    hints = [f"{close[0]!r} for {name!r}" for name, close in pairs if close]
    return f"did you mean {', '.join(hints)}?" if hints else ""
