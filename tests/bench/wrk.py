"""The load client that others use."""

import re
import subprocess


def wrk_rate(port: int, connections: int, seconds: int) -> float:
    """Requests per second in a closed loop."""
    words = ("wrk", "-t1", f"-c{connections}", f"-d{seconds}s", f"http://127.0.0.1:{port}/")
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said)
    if rate is None:
        raise RuntimeError(said)
    return float(rate[1])
