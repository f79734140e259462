"""From a method and a path to who answers."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from mlops_kit.modes.online.http.failures import Failure, oip_error
from mlops_kit.modes.online.http.messages import Handler, Receive, Response, Scope
from mlops_kit.modes.online.metrics.counters import ModelMeter


@dataclass(frozen=True, slots=True)
class Route:
    """Who answers, how a failure is told, and where requests for predictions are counted."""

    handler: Handler
    failure: Failure
    door: str = ""
    meter: ModelMeter | None = None

    def count(self, status: int, seconds: float) -> None:
        """One more request had this outcome, after so long."""
        if self.meter is None:
            return
        if status < HTTPStatus.BAD_REQUEST:
            self.meter.count_request(self.door, status)
        else:
            self.meter.count_failure(self.door, status, seconds)


Methods = Mapping[str, Route]


class Routes:
    """`exact` has the paths that are written in one way only; `find` is asked for the others.

    `unnamed` counts requests that nobody answers.
    """

    def __init__(
        self, exact: Mapping[str, Methods], find: Callable[[Sequence[str]], Methods | None], unnamed: ModelMeter
    ) -> None:
        self._unnamed = unnamed
        self._exact = {
            (method, path): route for path, methods in exact.items() for method, route in methods.items()
        }
        self._methods = exact
        self._find = find

    def exact_posts(self) -> Iterator[tuple[str, Route]]:
        """The paths that are written in one way only, and take a body."""
        return ((path, route) for (method, path), route in self._exact.items() if method == "POST")

    def route(self, method: str, path: str, failure: Failure) -> Route:
        """A route that refuses, where there is no other."""
        route = self._exact.get((method, path))
        if route is not None:
            return route
        methods = self._methods.get(path) or self._find(path.strip("/").split("/")) or {}
        known = methods.get("GET" if method == "HEAD" else method)
        door = "oip" if failure is oip_error else "mlflow"
        return known or Route(partial(_refuse, sorted(methods), failure), failure, door, self._unnamed)


async def _refuse(allowed: Sequence[str], failure: Failure, scope: Scope, _receive: Receive) -> Response:
    if not allowed:
        return failure(404, f"there is nothing at {scope['path']}")
    response = failure(405, f"{scope['path']} takes {' and '.join(allowed)}")
    if "GET" in allowed:
        allowed = (*allowed, "HEAD")
    return Response(405, response.body, headers=((b"allow", ", ".join(allowed).encode()),))
