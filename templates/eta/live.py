"""An evening of December once more: minute by minute, a server is asked about the flights that leave, while their
departures are posted to it.

    mlkit serve bundles/flights-eta --request-time &
    python live.py http://127.0.0.1:8080

The data is of 2013, so each request says as of when it asks. Without that, it is the time at which it arrives.
"""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from urllib.error import URLError
from urllib.request import Request, urlopen

import pandas as pd

SERVER = sys.argv[1]
DATA = Path(__file__).parent / "data"
# As of the beginning, `mlkit features materialize` has filled the store.
BEGIN, END = datetime(2013, 12, 23, 22), datetime(2013, 12, 24, 2)
SOURCES = ["origin_departures", "carrier_departures"]
# What a request brings; the rest of what the model takes is looked up.
OWN = ["carrier", "origin", "dest", "distance", "dep_delay", "weekday", "hour", "minute"]


def send(path: str, document: object) -> dict:
    """Post it as JSON, and wait for the answer."""
    body = json.dumps(document, default=str).encode()
    with urlopen(Request(SERVER + path, body, {"Content-Type": "application/json"}), timeout=30) as answer:
        return json.load(answer)


def ask(leaving: pd.DataFrame, as_of: datetime) -> list[float]:
    """How late will these flights arrive, from what is known now?"""
    rows = leaving[OWN].to_dict("records")
    answer = send("/invocations", {"dataframe_records": rows, "params": {"as_of": as_of.isoformat()}})
    return [row["prediction"] for row in answer["predictions"]]


def post(source: str, left: pd.DataFrame) -> int:
    """Tell the server what has happened. It answers when the store has it; how many events are refused?"""
    return len(send(f"/v2/events/{source}", left.to_dict("records"))["refused"])


def wait_for_server() -> None:
    """Until it is ready, a minute at most."""
    for second in range(60):
        try:
            return urlopen(f"{SERVER}/v2/health/ready").close()
        except URLError:
            time.sleep(1)
    sys.exit(f"there is no server at {SERVER}")


def of_the_evening(file: str) -> pd.DataFrame:
    """Its rows, by time."""
    rows = pd.read_parquet(DATA / file)
    return rows[(rows["time"] >= BEGIN) & (rows["time"] < END)]


departures, flights = of_the_evening("departures.parquet"), of_the_evening("2013-12.parquet")
wait_for_server()
refused, guesses = 0, []
with ThreadPoolExecutor() as pool:
    for now, left in departures.groupby("time"):
        leaving = flights[flights["time"] == now]
        asked = [pool.submit(ask, leaving, now)] if len(leaving) else []
        posts = [pool.submit(post, source, left) for source in SOURCES]
        refused += sum(job.result() for job in posts)
        guesses += [minutes for job in asked for minutes in job.result()]
errors = (flights["arr_delay"] - guesses).abs()
print(f"{len(departures)} departures posted, {refused} events refused")
print(f"{len(guesses)} flights predicted meanwhile, {errors.mean():.1f} minutes off")
