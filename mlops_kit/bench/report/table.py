"""A table in HTML, which scrolls by itself where it is too wide."""

from collections.abc import Iterable, Sequence

from mlops_kit.bench.report.markup import Element, element


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], class_: str = "") -> Element:
    """`heads` may be empty."""
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    body = element("tbody", *(element("tr", *(element("td", text) for text in row)) for row in rows))
    parts = (head, body) if heads else (body,)
    return element("div", element("table", *parts, class_=class_), class_="wide")
