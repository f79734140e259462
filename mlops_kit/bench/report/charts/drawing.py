"""What all charts share: their width, their text, and the shapes by which series differ without colours."""

from collections.abc import Sequence

from mlops_kit.bench.report.markup import Element, element
from mlops_kit.bench.results import Measurement

WIDTH, SIDE = 720, 6
SHAPES, SERIES = 4, 8
"""So many shapes and colours there are."""

LONGEST = 44


def drawing(height: float, title: str, *children: Element) -> Element:
    """As wide as the page. `title` is what it shows, for those who do not see it."""
    return element(
        "svg",
        *children,
        viewBox=f"0 0 {WIDTH} {height:.0f}",
        role="img",
        aria_label=title,
        class_="chart",
    )


def label(x: float, y: float, text: str, anchor: str = "start", class_: str = "") -> Element:
    """Text of one line."""
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=class_)


def row_labels(y: float, measurement: Measurement, told: str) -> tuple[Element, Element]:
    """Above a row: what was measured, cut where it would run into what was found, which is at the other end."""
    name = f"{measurement.mode}, {measurement.scenario}"
    shown = name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"
    return label(SIDE, y, shown, "start", "strong"), label(WIDTH - SIDE, y, told, "end")


def rule(x1: float, y1: float, x2: float, y2: float, class_: str) -> Element:
    """A straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)


def marker(x: float, y: float, series: int, *, is_filled: bool = True) -> Element:
    """A circle, a square, a triangle or a diamond."""
    class_ = f"marker s{series % SERIES}" + ("" if is_filled else " hollow")
    match series % SHAPES:
        case 0:
            return element("circle", cx=x, cy=y, r=4, class_=class_)
        case 1:
            return element("rect", x=x - 3.5, y=y - 3.5, width=7, height=7, class_=class_)
        case 2:
            return element("path", d=f"M{x - 4.5:.2f} {y + 4:.2f}h9l-4.5-8.5z", class_=class_)
        case _:
            return element("path", d=f"M{x:.2f} {y - 5:.2f}l5 5-5 5-5-5z", class_=class_)


def legend(names: Sequence[tuple[int, str]], *, has_markers: bool) -> Element:
    """What the series of these numbers are called, in HTML, so that it wraps."""
    items = []
    for series, name in names:
        shape = (
            marker(7, 7, series)
            if has_markers
            else element("rect", x=1, y=1, width=12, height=12, class_=f"area s{series % SERIES}")
        )
        swatch = element("svg", shape, viewBox="0 0 14 14", class_="swatch", aria_hidden="true")
        items.append(element("li", swatch, name))
    return element("ul", *items, class_="legend")
