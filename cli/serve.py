"""`mlkit serve`: answer requests."""

import logging
import sys

import typer

from mlops_kit.errors import MissingExtraError, UsageError

from . import console
from .options import option, parse_size


def serve(
    bundles: list[str] = typer.Argument(
        metavar="BUNDLE…", help="Bundles, as paths, .mlkit archives or MLflow URIs; several as NAME=BUNDLE."
    ),
    host: str = option("127.0.0.1", help="The address to listen on. Others than this machine need another one."),
    port: int = option(8080, min=0, max=65535, help="The port for HTTP; 0 is any that is free."),
    grpc_port: int = option(8081, min=0, max=65535, help="The port for gRPC; 0 is any that is free."),
    max_batch: int = option(64, min=1, help="Rows of different requests that are predicted in one run."),
    max_delay_ms: float = option(0.0, min=0, help="How long a lone request waits for others."),
    queue: int = option(1024, min=1, help="Requests that may wait for each model; more are answered with 429."),
    timeout_ms: int = option(1000, min=1, help="When a request is answered with 504. Clients may ask for less."),
    max_body: str = option("16MiB", help="The largest body, also after decompression."),
    read_timeout_s: float = option(10.0, min=0.1, help="How long a client may take to send a body."),
    drain_s: float = option(30.0, min=0, help="How long requests may go on after SIGTERM."),
) -> None:
    """Answer requests with a model's predictions, until SIGTERM.

    \b
    Speaks MLflow's scoring protocol (/invocations) and the Open Inference Protocol (/v2, and gRPC).

    \b
    Example:
      mlkit serve bundles/eta
      curl localhost:8080/invocations --json '{"inputs": {"origin": "JFK", "dep_delay": 12}}'
    """
    from mlops_kit import __version__
    from mlops_kit.modes.online.limits import Limits

    try:
        from mlops_kit.modes.online.grpc.server import reserve
        from mlops_kit.modes.online.server import ServeJob, listen
        from mlops_kit.modes.online.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "uvicorn", "serve", "mlkit serve") from error

    limits = Limits(
        max_batch=max_batch,
        max_delay_s=max_delay_ms / 1000,
        queue=queue,
        timeout_s=timeout_ms / 1000,
        body_bytes=parse_size(max_body),
        read_timeout_s=read_timeout_s,
        drain_s=drain_s,
    )
    job = ServeJob(_named(bundles), host, port, limits)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    with listen(host, port) as listener, reserve(host, grpc_port) as grpc_held:
        for scheme, held in (("http", listener), ("grpc", grpc_held)):
            address = held.getsockname()
            console.print_line(f"{scheme}://{address[0]}:{address[1]}")
        sys.stdout.flush()
        run(job, listener, grpc_held, __version__)


def _named(bundles: list[str]) -> dict[str, str]:
    named: dict[str, str] = {}
    for text in bundles:
        name, equals, reference = text.partition("=")
        if not equals:
            if len(bundles) > 1:
                raise UsageError(f"{text}: which name?", "several models are told apart by name", "NAME=BUNDLE")
            name, reference = _name_of(text), text
        if not name or "/" in name:
            raise UsageError(f"{name!r} is no name", "it is part of paths", "use letters and digits")
        if name in named:
            raise UsageError(f"two models are called {name!r}", fix="give each a name of its own")
        named[name] = reference
    return named


def _name_of(reference: str) -> str:
    from mlops_kit.bundle.locate import load_bundle

    return load_bundle(reference).manifest.name
