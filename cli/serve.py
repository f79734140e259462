"""`mlkit serve`: answer requests."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlops_kit.errors import MissingExtraError, MlkitError, UsageError
from mlops_kit.modes.online.features.options import StoreFailure
from mlops_kit.modes.online.log_format import LogFormat

from . import console
from .options import environment_password, option, parse_size, refuse_passwords

if TYPE_CHECKING:
    from mlops_kit.modes.online.features.options import StoreOptions
    from mlops_kit.modes.online.keys import Keys
    from mlops_kit.modes.online.tls import Tls


UNABLE = 2
"""The exit code of what could not run."""

PACKAGES = ("uvicorn", "uvloop", "httptools", "grpc", "grpc_health", "grpc_reflection", "jh2", "prometheus_client")


def serve(
    context: typer.Context,
    bundles: list[str] = typer.Argument(
        metavar="BUNDLE…",
        envvar="MLKIT_SERVE_BUNDLES",
        show_envvar=False,
        help="Bundles, as paths, .mlkit archives or MLflow URIs; several as NAME=BUNDLE.",
    ),
    host: str = option("127.0.0.1", help="The address to listen on. Others than this machine need another one."),
    port: int = option(8080, min=0, max=65535, help="The port for HTTP; 0 is any that is free."),
    grpc_port: int = option(8081, min=0, max=65535, help="The port for gRPC; 0 is any that is free."),
    workers: int = option(1, min=1, help="Processes that share the port; each loads the models."),
    watch: bool = option(False, help="Serve what a link such as `current`, or a registry alias, points to next."),
    model_root: str | None = option(None, help="Let clients with the admin key load bundles below this folder."),
    log_format: LogFormat = option(LogFormat.text, help="How lines on stderr are written."),
    max_batch: int = option(64, min=1, help="Rows of different requests that are predicted in one run."),
    max_delay_ms: float = option(0.0, min=0, help="How long a lone request waits for others."),
    queue: int = option(1024, min=1, help="Requests that may wait for each model; more are answered with 429."),
    timeout_ms: int = option(1000, min=1, help="When a request is answered with 504. Clients may ask for less."),
    max_body: str = option("16MiB", help="The largest body, also after decompression."),
    read_timeout_s: float = option(10.0, min=0.1, help="How long a client may take to send a body."),
    drain_s: float = option(30.0, min=0, help="How long requests may go on after SIGTERM."),
    stop_delay_s: float = option(
        0.0,
        min=0,
        help="How long to answer on after SIGTERM, and not be ready, until nothing is sent here any more.",
    ),
    api_key_file: Path | None = option(None, help="Keys, one in a line: only requests with one are answered."),
    admin_key_file: Path | None = option(None, help="Keys for admin actions, which nobody may do without one."),
    tls_cert: Path | None = option(None, help="A certificate with its chain, PEM; with --tls-key."),
    tls_key: Path | None = option(None, help="The certificate's key, PEM, not encrypted."),
    log_predictions: Path | None = option(
        None, help="A folder for what was asked and answered, in Parquet by day."
    ),
    store: str | None = option(
        None, help="Where features are looked up: sqlite:///FILE, redis://HOST/0 or postgresql://HOST/DATABASE."
    ),
    store_failure: StoreFailure = option(
        StoreFailure.defaults,
        help="What requests get while the store does not answer: defaults, marked so, or 503.",
    ),
    store_timeout_ms: int = option(200, min=1, help="How long a request waits for the store."),
    request_time: bool = option(
        False, "--request-time", help="Let clients say as of when features are, with the parameter as_of."
    ),
) -> None:
    """Answer requests with a model's predictions, until SIGTERM.

    \b
    Speaks MLflow's scoring protocol (/invocations) and the Open Inference Protocol (/v2, and gRPC).

    \b
    Example:
      mlkit serve bundles/eta
      curl localhost:8080/invocations --json '{"inputs": {"origin": "JFK", "dep_delay": 12}}'
    """
    _check_packages()
    import logging

    from mlops_kit import __version__
    from mlops_kit.modes.online.exposure import exposures
    from mlops_kit.modes.online.job import ServeJob
    from mlops_kit.modes.online.limits import Limits
    from mlops_kit.modes.online.listening import addresses, listen, reserve
    from mlops_kit.modes.online.logs import set_up_logging
    from mlops_kit.modes.online.prediction_log.parts import prepare_folder
    from mlops_kit.modes.online.processes.naming import follow_all
    from mlops_kit.modes.online.processes.supervisor import supervise

    set_up_logging(log_format)
    with _told_as(log_format):
        features = _features(context, store, store_failure, store_timeout_ms, is_timed=request_time)
        log = logging.getLogger("mlkit.serve")
        limits = Limits(
            max_batch=max_batch,
            max_delay_s=max_delay_ms / 1000,
            queue=queue,
            timeout_s=timeout_ms / 1000,
            body_bytes=parse_size(max_body),
            read_timeout_s=read_timeout_s,
            drain_s=drain_s,
            stop_delay_s=stop_delay_s,
        )
        keys, tls = _keys(api_key_file, admin_key_file), _tls(tls_cert, tls_key)
        if log_predictions:
            prepare_folder(log_predictions)
        if model_root is not None:
            _check_model_root(model_root, admin_key_file)
        with listen(host, port) as listener, reserve(host, grpc_port) as held:
            following = follow_all(bundles)
            job = ServeJob(
                __version__,
                grpc_address=held.getsockname()[:2],
                workers=workers,
                is_watching=watch,
                model_root=model_root,
                log_format=log_format,
                limits=limits,
                keys=keys,
                tls=tls,
                log_folder=str(log_predictions) if log_predictions else None,
                features=features,
            )
            for danger in exposures(listener.getsockname()[0], keys, tls):
                log.warning("%s", danger)
            if watch and all(model.reference.is_fixed for model in following.values()):
                log.warning("--watch follows nothing: a version of a registered model stays what it is")
            for address in addresses(job, listener):
                console.print_line(address)
            sys.stdout.flush()
            supervise(job, listener, following)


@contextmanager
def _told_as(form: LogFormat) -> Iterator[None]:
    """Who reads stderr as JSON gets also why the server cannot start as a line of it."""
    try:
        yield
    except MlkitError as error:
        if form is LogFormat.text:
            raise
        import logging

        facts = {"what": error.what, "why": error.why, "fix": error.fix}
        logging.getLogger("mlkit.serve").critical("cannot serve: %s", error, extra={"facts": facts})
        raise typer.Exit(UNABLE) from error


def _check_model_root(model_root: str, admin_key_file: Path | None) -> None:
    if admin_key_file is None:
        why = "only a client with an admin key may load anything"
        raise UsageError("--model-root is of no use without --admin-key-file", why, "give both")
    if not Path(model_root).is_dir():
        raise UsageError(f"{model_root}: no such folder", fix="check --model-root")


def _check_packages() -> None:
    """Workers import them, and would only die."""
    for package in PACKAGES:
        if find_spec(package) is None:
            raise MissingExtraError(package, "serve", "mlkit serve")


def _keys(key_file: Path | None, admin_key_file: Path | None) -> "Keys":
    import logging

    from mlops_kit.modes.online.keys import Keys, is_open_to_others, read_keys

    read = []
    for file in (key_file, admin_key_file):
        read.append(read_keys(file) if file else ())
        if file and is_open_to_others(file):
            text = "other users of this machine can read %s: chmod 600 %s"
            logging.getLogger("mlkit.serve").warning(text, file, file)
    return Keys(*read)


def _features(
    context: typer.Context, store: str | None, failure: StoreFailure, timeout_ms: int, *, is_timed: bool
) -> "StoreOptions | None":
    from mlops_kit.modes.online.features.options import StoreOptions
    from mlops_kit.stores.resolve import check_store

    if store is None:
        if is_timed:
            raise UsageError("--request-time needs --store", "a time says as of when features are looked up")
        return None
    refuse_passwords(context, "store")
    if find_spec("numba") is None:
        raise MissingExtraError("numba", "features", "mlkit serve --store")
    check_store(store)
    return StoreOptions(store, environment_password(), failure, timeout_ms / 1000, is_timed)


def _tls(certificate: Path | None, key: Path | None) -> "Tls | None":
    from mlops_kit.modes.online.tls import Tls

    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "--tls-key" if key is None else "--tls-cert"
        raise UsageError(f"{missing} is missing", "a certificate is of no use without its key", "give both")
    tls = Tls(certificate, key)
    tls.context()
    return tls
