"""Load by wrk, with another row in each request: trees run faster on repeats."""

import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from tests.benchmarks.flights_model import COLUMNS
from tests.benchmarks.flights_rows import flights

BODIES = 4096
SCRIPT = """
local bodies = {}
for line in io.lines("%s") do bodies[#bodies + 1] = line end
local at = 0
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
request = function()
  at = at %% #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
"""
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Measurement:
    """Requests per second, the median latency, and requests that were not answered with 200."""

    rate: float
    p50_s: float
    failed: int


def write_bodies(folder: Path, rows: int = 1) -> Path:
    """MLflow's split form, `rows` rows in each, which lack nothing: not every contender takes null."""
    path = folder / "bodies"
    wanted = BODIES * rows
    frame = pl.concat(flights(2 * wanted)).select(COLUMNS).drop_nulls().drop_nans().head(wanted)
    with path.open("w") as file:
        for first in range(0, len(frame), rows):
            data = [list(row) for row in frame[first : first + rows].rows()]
            file.write(json.dumps({"dataframe_split": {"columns": COLUMNS, "data": data}}) + "\n")
    (folder / "load.lua").write_text(SCRIPT % path)
    return path


def load(url: str, folder: Path, connections: int, seconds: float) -> Measurement:
    """So many connections, each with the next request as soon as the last one is answered."""
    words = ("-t1", f"-c{connections}", f"-d{seconds:.0f}s", "--latency", "-s", str(folder / "load.lua"), url)
    said = subprocess.run(["wrk", *words], check=True, capture_output=True, text=True).stdout
    p50 = re.search(r"50%\s+([\d.]+)(us|ms|s)", said)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    failed = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    if p50 is None or rate is None:
        raise RuntimeError(said)
    return Measurement(float(rate[1]), float(p50[1]) * SECONDS[p50[2]], int(failed[1]) if failed else 0)
