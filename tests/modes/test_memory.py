import subprocess
import sys

LARGE = 300_000_000

CHILD = "from mlops_kit.modes.memory import peak_memory; print(peak_memory())"
GROWING = f"del bytearray(b'1' * {LARGE})[:]; {CHILD}"
PARENT = (
    f"import subprocess, sys; kept = b'1' * {LARGE}; "
    f"subprocess.run([sys.executable, '-c', {CHILD!r}], check=True, close_fds=False)"
)


def peak_of(program: str) -> int:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_the_peak_is_that_of_the_process_and_not_of_the_one_that_started_it() -> None:
    assert peak_of(PARENT) < LARGE / 2


def test_what_was_given_back_counts() -> None:
    assert peak_of(GROWING) > LARGE
