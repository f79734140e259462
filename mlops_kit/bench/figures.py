"""Numbers as people read them: three digits that count, and a unit that fits."""

import math

TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SPANS = ((86_400, "d"), (3600, "h"), (60, "min"))
SIZES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


def figure(value: float) -> str:
    """Three digits that count.

    >>> figure(16_732.4), figure(0.12345), figure(2.0), figure(0.00001234), figure(4.567e-10), figure(0)
    ('16,700', '0.123', '2', '0.0000123', '4.57e-10', '0')
    """
    if value == 0 or not math.isfinite(value):
        return f"{value:.0f}"
    if abs(value) < 1e-6:
        return f"{value:.3g}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{round(value, digits):,.{max(0, digits)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def seconds(value: float) -> str:
    """A latency or a duration.

    >>> seconds(0.0000123), seconds(0.1), seconds(12.34), seconds(86_400), seconds(5400)
    ('12.3 µs', '100 ms', '12.3 s', '1 d', '1.5 h')
    """
    for length, unit in SPANS:
        if value >= length:
            return f"{figure(value / length)} {unit}"
    fitting = next((each for each in TIMES if value >= each[0]), TIMES[-1])
    return f"{figure(value / fitting[0])} {fitting[1]}"


def size(value: float) -> str:
    """Bytes.

    >>> size(512), size(1_234_567)
    ('512 B', '1.23 MB')
    """
    fitting = next((each for each in SIZES if value >= each[0]), (1, "B"))
    return f"{figure(value / fitting[0])} {fitting[1]}"


def percent(share: float) -> str:
    """A share.

    >>> percent(0.02), percent(1), percent(0.12345)
    ('2 %', '100 %', '12.3 %')
    """
    return f"{figure(share * 100)} %"
