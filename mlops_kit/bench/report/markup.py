"""Elements of HTML and SVG. Text is escaped when they are written, whatever it is."""

import xml.etree.ElementTree as ET
from typing import TypeAlias

Element: TypeAlias = ET.Element


def element(tag: str, *children: "Element | str", **attributes: str | float) -> Element:
    """`class_` is the attribute class, `stroke_width` is stroke-width. Numbers have at most two decimals."""
    made = ET.Element(
        tag, {name.rstrip("_").replace("_", "-"): _text(value) for name, value in attributes.items()}
    )
    for child in children:
        append(made, child)
    return made


def append(parent: Element, child: "Element | str") -> None:
    """After all that it has."""
    if not isinstance(child, str):
        parent.append(child)
    elif len(parent):
        parent[-1].tail = (parent[-1].tail or "") + child
    else:
        parent.text = (parent.text or "") + child


def write_html(root: Element) -> str:
    """A document."""
    return "<!doctype html>\n" + ET.tostring(root, encoding="unicode", method="html") + "\n"


def _text(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:.2f}".rstrip("0").rstrip(".")
