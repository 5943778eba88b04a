"""Shapes and texts of pictures as SVG.

A shape has the light colours as plain attributes, which every program understands, and a class.
By its class the stylesheet gives it the colours of the page around it. Shapes have no ids, so that
pictures on one page never mix.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from daskresearch.markup import PALETTE, cut, escape, theme

SCOPE = "daskresearch-picture"
TIMES = "\N{MULTIPLICATION SIGN}"
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_CORNER = 7.0

# class: the properties that are colours, and those that are not
_LOOKS: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = {
    "paper": ({"fill": "paper"}, {}),
    "panel": ({"fill": "panel", "stroke": "panel-line"}, {"stroke-width": "1"}),
    "lockstep": (
        {"fill": "panel", "stroke": "shared-line"},
        {"stroke-width": "1.3", "stroke-dasharray": "6 4"},
    ),
    "domain": ({"fill": "panel", "stroke": "config"}, {"stroke-width": "1"}),
    "rule": ({"stroke": "border"}, {"stroke-width": "1"}),
    "each": ({"fill": "each", "stroke": "each-line"}, {"stroke-width": "1.2"}),
    "shared": ({"fill": "shared", "stroke": "shared-line"}, {"stroke-width": "1.4"}),
    "record": ({"fill": "record", "stroke": "record-line"}, {"stroke-width": "1.1"}),
    "line": ({"stroke": "line"}, {"fill": "none", "stroke-width": "1.5"}),
    "shared-out": ({"stroke": "shared-line"}, {"fill": "none", "stroke-width": "1.7"}),
    "config-out": ({"stroke": "config"}, {"fill": "none", "stroke-width": "1.2"}),
    "back": (
        {"stroke": "line"},
        {"fill": "none", "stroke-width": "1.4", "stroke-dasharray": "4 4"},
    ),
    "line-tip": ({"fill": "line"}, {}),
    "shared-out-tip": ({"fill": "shared-line"}, {}),
    "config-out-tip": ({"fill": "config"}, {}),
    "text": ({"fill": "text"}, {}),
    "muted": ({"fill": "muted"}, {}),
    "shared-text": ({"fill": "shared-text"}, {}),
    "fan": ({"fill": "shared-text"}, {}),
}

_RAISED = "⁰¹²³⁴⁵⁶⁷⁸⁹"
_NARROW = frozenset("iljtfrI.,:;'|!()[]{}/\\ ·")
_WIDE = frozenset("mwMW@%—…→≈")


def width_of(text: str, size: float, *, is_bold: bool = False) -> float:
    """Return how wide a text may become in any usual font, in pixels.

    Examples
    --------
    >>> width_of("ill", 10) < width_of("one", 10) < width_of("MOM", 10)
    True
    """
    return size * sum([_em(letter) for letter in text]) * (1.08 if is_bold else 1.0)


def _em(letter: str) -> float:
    if letter in _NARROW:
        return 0.41
    if letter in _WIDE:
        return 1.0
    if letter.isascii():
        return 0.72 if letter.isupper() else 0.64
    if unicodedata.combining(letter):
        return 0.0
    if letter in _RAISED:
        return 0.5
    return 1.1 if unicodedata.east_asian_width(letter) in "WF" or ord(letter) > 0xFFFF else 0.85


def fitted(text: str, size: float, width: float, *, is_bold: bool = False) -> str:
    """Return a text cut to a width, with an ellipsis where it was cut.

    Examples
    --------
    >>> fitted("a_rather_long_name", 10, 60)
    'a_rather…'
    """
    line = cut(text, 400)
    if width_of(line, size, is_bold=is_bold) <= width:
        return line
    while line and width_of(f"{line}…", size, is_bold=is_bold) > width:
        line = line[:-1]
    return f"{line}…"


def short_number(n: int | None) -> str:
    """Return a count in at most nine characters.

    Examples
    --------
    >>> short_number(1_000_000), short_number(10**12), short_number(None)
    ('1,000,000', '10¹²', '?')
    """
    if n is None:
        return "?"
    if n < 10**7:
        return f"{n:,}"
    digits, _, exponent = f"{n:.1e}".partition("e+")
    power = "10" + str(int(exponent)).translate(str.maketrans("0123456789", _RAISED))
    return power if digits == "1.0" else f"{digits}{TIMES}{power}"


def tag(name: str, attributes: Mapping[str, object], content: str = "", *, look: str = "") -> str:
    """Return an SVG element.

    Parameters
    ----------
    name : str
    attributes : Mapping
        Numbers and texts.
    content : str
        SVG.
    look : str
        A class of the stylesheet, which says what the element looks like.

    Examples
    --------
    >>> tag("circle", {"r": 2.0}, look="paper")
    '<circle class="paper" fill="#ffffff" r="2"/>'
    """
    colours, others = _LOOKS[look] if look else ({}, {})
    literal = {key: PALETTE[colour].light for key, colour in colours.items()}
    given: dict[str, object] = {
        **({"class": look} if look else {}),
        **literal,
        **others,
        **attributes,
    }
    written = "".join([f' {key}="{_attribute(value)}"' for key, value in given.items()])
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _attribute(value: object) -> str:
    return _pixels(value) if isinstance(value, float) else escape(str(value))


def _pixels(value: float) -> str:
    return f"{round(value, 1):g}"


def rectangle(
    x: float, y: float, width: float, height: float, look: str, corner: float = 6.0
) -> str:
    """Return a rectangle with round corners."""
    attributes = {
        "x": float(x),
        "y": float(y),
        "width": float(width),
        "height": float(height),
        "rx": float(corner),
    }
    return tag("rect", attributes, look=look)


def label(
    x: float, y: float, text: str, size: float, width: float,
    *, look: str = "text", anchor: str = "start", is_bold: bool = False,
) -> str:  # fmt: skip
    """Return a text that stands on the height `y`, cut to a width."""
    attributes: dict[str, object] = {"x": float(x), "y": float(y), "font-size": float(size)}
    if anchor != "start":
        attributes["text-anchor"] = anchor
    if is_bold:
        attributes["font-weight"] = "600"
    return tag("text", attributes, escape(fitted(text, size, width, is_bold=is_bold)), look=look)


def titled(title: str, content: str) -> str:
    """Return shapes with a tooltip."""
    return tag("g", {}, f"<title>{escape(title)}</title>{content}")


def path(lines: Sequence[Sequence[tuple[float, float]]], look: str) -> str:
    """Return lines through points.

    A piece between points of equal x or y is straight, with a round corner; any other is a curve.
    """
    return tag("path", {"d": "".join([_line(points) for points in lines])}, look=look)


def _line(points: Sequence[tuple[float, float]]) -> str:
    parts = [f"M{_pixels(points[0][0])} {_pixels(points[0][1])}"]
    for i in range(1, len(points)):
        (x, y), (u, v) = points[i - 1], points[i]
        if x != u and y != v:
            middle = _pixels((x + u) / 2)
            parts.append(f"C{middle} {_pixels(y)} {middle} {_pixels(v)} {_pixels(u)} {_pixels(v)}")
        elif i + 1 < len(points) and _turns(points[i - 1 : i + 2]):
            parts.append(_corner(points[i - 1], points[i], points[i + 1]))
        else:
            parts.append(f"L{_pixels(u)} {_pixels(v)}")
    return "".join(parts)


def _turns(points: Sequence[tuple[float, float]]) -> bool:
    (x, y), (u, v), (p, q) = points
    return (y == v and u == p) or (x == u and v == q)


def _corner(
    before: tuple[float, float], at: tuple[float, float], after: tuple[float, float]
) -> str:
    def towards(point: tuple[float, float]) -> tuple[float, float]:
        away = max(abs(point[0] - at[0]), abs(point[1] - at[1]))
        share = min(_CORNER, away / 2) / away
        return at[0] + (point[0] - at[0]) * share, at[1] + (point[1] - at[1]) * share

    (x, y), (u, v) = towards(before), towards(after)
    return f"L{_pixels(x)} {_pixels(y)}Q{_pixels(at[0])} {_pixels(at[1])} {_pixels(u)} {_pixels(v)}"


def tip(x: float, y: float, look: str) -> str:
    """Return the point of an arrow that comes from the left."""
    back, above, below = _pixels(x - 7), _pixels(y - 3.6), _pixels(y + 3.6)
    corners = f"M{back} {above}L{_pixels(x)} {_pixels(y)}L{back} {below}Z"
    return tag("path", {"d": corners}, look=look)


def picture(width: float, height: float, title: str, shapes: Sequence[str]) -> str:
    """Return a whole picture, in the colours of the page around it."""
    rules = [_rule(name, colours) for name, (colours, _) in _LOOKS.items()]
    size = {"width": float(round(width)), "height": float(round(height))}
    attributes = {
        "xmlns": "http://www.w3.org/2000/svg",
        "class": SCOPE,
        **size,
        "viewBox": f"0 0 {_pixels(size['width'])} {_pixels(size['height'])}",
        "role": "img",
        "font-family": _FONT,
        "style": "max-width: none;",  # a picture shrunk to a narrow page is not read; it scrolls
    }
    style = f"<style>\n{theme(f'.{SCOPE}')}{chr(10).join(rules)}\n</style>"
    sheet = tag("rect", {"width": "100%", "height": "100%"}, look="paper")
    return tag(
        "svg", attributes, "".join([f"<title>{escape(title)}</title>", style, sheet, *shapes])
    )


def _rule(look: str, colours: Mapping[str, str]) -> str:
    settings = " ".join([f"{key}: var(--dr-{colour});" for key, colour in colours.items()])
    return f".{SCOPE} .{look} {{ {settings} }}"
