"""The client finds what was planted in a server, to 5 %."""

import asyncio
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest

from mlops_kit.bench.load.arrivals import OpenArrivals, poisson_schedule
from mlops_kit.bench.load.client import Client
from mlops_kit.bench.load.grpc import GrpcTarget
from mlops_kit.bench.load.http import HttpTarget
from mlops_kit.bench.load.interface import Closed, LoadResult, Open
from mlops_kit.bench.load.processes import LoadProcess, load_process, null_server
from mlops_kit.bench.statistics import percentile_of
from mlops_kit.errors import StoreError
from tests.bench.agreement import agrees
from tests.bench.planted import (
    REQUESTS,
    Capacity,
    Hanging,
    HangingUp,
    Refusing,
    Sleeping,
    Stalling,
    Working,
    planted,
)
from tests.bench.wrk import wrk_rate
from tests.ports import free_port


@pytest.fixture(scope="module")
def client() -> Iterator[LoadProcess]:
    with load_process() as process:
        yield process


def test_a_planted_sleep_is_the_latency(client: LoadProcess) -> None:
    with planted(Sleeping(0.1)) as target:

        def measure() -> list[float]:
            load = client.run(target, Closed(8, 1.0))
            return [percentile_of(load.latencies_s, 0.5), percentile_of(load.latencies_s, 0.9), load.rate]

        assert agrees(measure, [0.1, 0.1, 80], within=0.05)


def test_a_planted_stall_is_in_the_percentiles_by_the_arithmetic_of_an_open_loop(client: LoadProcess) -> None:
    """Of 3 s the server stalls for 0.3: a tenth of the requests wait, evenly from 0 to 0.3 s. So 1 % of all wait
    longer than 0.27 s, and 5 % longer than 0.15 s."""
    with planted(Stalling(every_s=3, for_s=0.3)) as target:

        def measure() -> list[float]:
            latencies = client.run(target, Open(2000, 3)).latencies_s
            return [percentile_of(latencies, 0.99), percentile_of(latencies, 0.95)]

        assert agrees(measure, [0.27, 0.15], within=0.05)
        closed = client.run(target, Closed(1, 3)).latencies_s
        assert percentile_of(closed, 0.99) < 0.1 < closed.max()


def test_closed_loop_open_loop_and_wrk_agree_on_a_planted_capacity(client: LoadProcess) -> None:
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed: apt-get install wrk")
    with planted(Capacity(400)) as target:

        def measure() -> list[float]:
            closed, overload = client.run(target, Closed(8, 1)), client.run(target, Open(600, 1))
            return [closed.rate, overload.rate]

        assert agrees(measure, [400, 400], within=0.05)
        assert agrees(lambda: [wrk_rate(target.port, 8, 1)], [400], within=0.1)


def test_a_server_at_its_limit_gives_the_client_as_much_as_wrk(client: LoadProcess) -> None:
    """Both ask at the same time, and share a server that has work for 2 ms: the slower one would get less."""
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed: apt-get install wrk")
    with planted(Working(0.002)) as target, ThreadPoolExecutor(1) as other:

        def measure() -> list[float]:
            theirs = other.submit(wrk_rate, target.port, 8, 2)
            return [client.run(target, Closed(8, 2)).rate / theirs.result()]

        assert agrees(measure, [1], within=0.1)


def test_refusals_are_errors_and_no_goodput(client: LoadProcess) -> None:
    with planted(Refusing(per_s=200, burst=5)) as target:
        load = client.run(target, Open(1000, 1))
    assert load.errors.keys() == {"HTTP 429"}
    assert len(load.due_s) + load.errors["HTTP 429"] == 1000
    assert load.goodput(1.0) <= load.rate
    # On a busy machine it may take longer than the second that was asked for.
    assert len(load.due_s) <= 200 * (load.answered_s.max() - load.sent_s.min()) + 6
    assert load.missed(1.0) == pytest.approx(load.failed / 1000)


def test_answers_that_never_come_are_timeouts_and_others_go_on() -> None:
    with planted(Hanging(nth=2)) as target:
        load = asyncio.run(Client(target, Closed(2, 1.0), timeout_s=0.1).run())
    assert load.errors["timeout"] > 5
    assert len(load.due_s) > 5
    assert load.latencies_s.max() < 1


def test_requests_that_nobody_could_send_in_time_are_timeouts() -> None:
    with planted(Hanging(nth=10**9)) as target:
        load = asyncio.run(Client(target, Open(2000, 0.5), timeout_s=0.2).run())
    assert load.errors == {"timeout": 1000}
    assert load.goodput(10) == 0


def test_connections_that_are_lost_are_made_again(client: LoadProcess) -> None:
    with planted(HangingUp(nth=5)) as target:
        load = client.run(target, Closed(4, 1.0))
    assert load.errors["connection lost"] > 4
    assert len(load.due_s) > 3 * load.errors["connection lost"]


def test_where_nobody_listens_the_reason_is_told(client: LoadProcess) -> None:
    with pytest.raises(StoreError, match="cannot connect"):
        client.run(HttpTarget(free_port(), REQUESTS), Closed(1, 0.1))


@pytest.mark.parametrize("target", [HttpTarget(0, REQUESTS), GrpcTarget(0, "/a.Service/Call", [b"x" * 100, b""])])
def test_a_server_that_does_nothing_answers_every_request(
    client: LoadProcess, target: HttpTarget | GrpcTarget
) -> None:
    with null_server(target) as nothing:
        closed = client.run(nothing, Closed(8, 0.3))
        arriving = client.run(nothing, Open(500, 0.4))
    assert not closed.errors
    assert not arriving.errors
    assert closed.rate > 500
    assert len(arriving.due_s) == 200
    assert 0 < closed.client_cpu <= 1.05


def test_calls_reach_a_grpc_server_whole_and_its_statuses_are_told(client: LoadProcess) -> None:
    """grpcio's own server; a message of 20 MB needs several windows. Each message has a connection, so that all are
    sent at once, however long they take.
    """
    messages, seen = [b"small", b"x" * 20_000_000, b"refuse"], []

    def answer(message: bytes, context: grpc.ServicerContext) -> bytes:
        seen.append(message)
        if message == b"refuse":
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "no")
        return message

    lengths = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    server = grpc.server(ThreadPoolExecutor(4), options=lengths)
    handlers = {"Call": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.Service", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        load = client.run(GrpcTarget(port, "/a.Service/Call", messages), Closed(len(messages), 0.5))
        unknown = client.run(GrpcTarget(port, "/a.Service/Unknown", [b""]), Closed(1, 0.1))
    finally:
        server.stop(None)
    assert set(seen) == set(messages)
    assert load.errors.keys() == {"gRPC status 8"}
    assert len(load.due_s) + load.failed == len(seen)
    assert unknown.errors.keys() == {"gRPC status 12"}


def test_arrivals_are_poisson_and_the_same_for_a_seed() -> None:
    due = poisson_schedule(Open(1000, 20, seed=3))
    assert len(due) == 20_000
    assert (np.diff(due) >= 0).all()
    assert (due == poisson_schedule(Open(1000, 20, seed=3))).all()
    gaps = np.diff(due)
    assert gaps.mean() == pytest.approx(0.001, rel=0.01)
    assert gaps.std() == pytest.approx(0.001, rel=0.05)
    per_second = np.histogram(due, 20, (0, 20))[0]
    assert per_second.std() > 10


def test_requests_wait_for_a_connection_in_the_order_in_which_they_are_due() -> None:
    load = Open(100, 1)
    due = (5 + poisson_schedule(load)).tolist()
    arrivals = OpenArrivals(load, started=5)
    assert arrivals.take(due[0] - 0.001) is None
    assert [arrivals.take(due[1]), arrivals.take(due[1]), arrivals.take(due[1])] == [due[0], due[1], None]
    assert arrivals.next_due() == due[2]
    assert arrivals.expired(due[10]) == 8
    assert arrivals.take(due[10]) == due[10]
    assert arrivals.expired(7) == 89
    assert arrivals.is_over(0)
    assert arrivals.next_due() is None


def test_latency_counts_from_when_a_request_was_due() -> None:
    load = LoadResult(
        due_s=np.array([0.0, 0.1, 0.9]),
        sent_s=np.array([0.0, 0.5, 0.9]),
        answered_s=np.array([0.1, 0.6, 1.2]),
        errors={"timeout": 1},
        seconds=1.0,
        client_cpu=0.1,
    )
    assert load.latencies_s == pytest.approx([0.1, 0.5, 0.3])
    assert load.rate == 2
    assert load.goodput(0.3) == 2
    assert load.missed(0.3) == 0.5
