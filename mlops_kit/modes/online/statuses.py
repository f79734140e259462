"""From an error to a status: HTTP's, which gRPC's and the metrics follow."""

from mlops_kit.errors import (
    BundleError,
    DeadlineError,
    FeaturesUnavailableError,
    ForbiddenError,
    InputError,
    MlkitError,
    ModelNotFoundError,
    NotReadyError,
    OverloadedError,
    ReadTimeoutError,
    SourceNotFoundError,
    TooLargeError,
    UnauthorizedError,
    UnsupportedMediaTypeError,
    UsageError,
)

GONE = 499
"""The status under which a client that went away is counted."""

STATUSES: tuple[tuple[type[MlkitError], int], ...] = (
    (OverloadedError, 429),
    (DeadlineError, 504),
    (ModelNotFoundError, 404),
    (SourceNotFoundError, 404),
    (NotReadyError, 503),
    (FeaturesUnavailableError, 503),
    (TooLargeError, 413),
    (UnsupportedMediaTypeError, 415),
    (UnauthorizedError, 401),
    (ForbiddenError, 403),
    (ReadTimeoutError, 408),
    (InputError, 400),
    (UsageError, 400),
    (BundleError, 400),
)


def status_of(error: MlkitError) -> int:
    """500 for what is not the caller's to mend."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
