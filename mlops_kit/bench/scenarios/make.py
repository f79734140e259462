"""From a scenario's name to what measures it."""

from mlops_kit.bench.interface import RunningMode
from mlops_kit.bench.load.processes import LoadProcess
from mlops_kit.bench.plan import Plan
from mlops_kit.bench.scenarios.closed import AT_ONCE, ClosedScenario
from mlops_kit.bench.scenarios.offline import OfflineScenario
from mlops_kit.bench.scenarios.repetition import Scenario
from mlops_kit.bench.scenarios.server import ServerScenario


def make_scenario(name: str, client: LoadProcess, mode: RunningMode, plan: Plan) -> Scenario:
    """For one mode; it is measured again in every repetition."""
    match name:
        case "single-stream":
            return ClosedScenario(client, mode, plan, 1, "p90")
        case "multi-stream":
            return ClosedScenario(client, mode, plan, AT_ONCE, "p99")
        case "server":
            return ServerScenario(client, mode, plan)
        case "offline":
            return OfflineScenario(mode, plan)
        case _:
            raise ValueError(name)
