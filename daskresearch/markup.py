"""HTML that objects show in a notebook: texts, tables and sections, no scripts.

Every function takes plain text and escapes it; only a parameter named `body` is HTML, made by
another function of this module. Without its stylesheet a page still reads as headings, tables and
native ``<details>``.
"""

from __future__ import annotations

import html
import re
import reprlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import BuiltinFunctionType, FunctionType
from typing import Any, NamedTuple, final

_LONGEST = 80
_ILLEGAL = re.compile(
    "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\u202a-\u202e\u2066-\u2069\x7f-\x9f]"
)
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


@final
class Colour(NamedTuple):
    """A colour of the theme: a notebook's name for it or "", else light and dark."""

    notebook: str
    light: str
    dark: str


PALETTE: Mapping[str, Colour] = {
    "text": Colour("--jp-content-font-color1", "#1f2430", "#e3e5e8"),
    "muted": Colour("--jp-content-font-color2", "#5d6573", "#a3abb6"),
    "border": Colour("--jp-border-color2", "#dfe2e6", "#3d434b"),
    "paper": Colour("--jp-layout-color0", "#ffffff", "#16181c"),
    "panel": Colour("", "#f6f8fb", "#1d2127"),
    "panel-line": Colour("", "#d8dfe9", "#343c47"),
    "config": Colour("", "#b9c1cc", "#59626f"),
    "line": Colour("", "#7f93ad", "#71869f"),
    "each": Colour("", "#ffffff", "#252c35"),
    "each-line": Colour("", "#8ea6c4", "#5f7a99"),
    "shared": Colour("", "#fff3df", "#3a2d18"),
    "shared-line": Colour("", "#e0972f", "#c98d3b"),
    "shared-text": Colour("", "#8a4f00", "#f3c27a"),
    "record": Colour("", "#eaf6ee", "#1a2f22"),
    "record-line": Colour("", "#74b48a", "#4d946a"),
}

_STYLE = """\
.daskresearch { color: var(--dr-text); background: var(--dr-paper); font-size: 13px;
  line-height: 1.45; padding: 2px 6px 6px; max-width: 1280px;
  font-family: var(--jp-ui-font-family, system-ui, sans-serif); }
.daskresearch .dr-head { padding: 4px 0 6px; border-bottom: 1px solid var(--dr-border);
  margin-bottom: 4px; }
.daskresearch .dr-kind, .daskresearch .dr-note { color: var(--dr-muted); }
.daskresearch .dr-name { font-weight: 600; overflow-wrap: anywhere; }
.daskresearch p { margin: 4px 0 6px; color: var(--dr-muted); overflow-wrap: anywhere; }
.daskresearch p code { font-size: 12px; color: var(--dr-text); background: none; }
.daskresearch summary { cursor: pointer; padding: 3px 0; }
.daskresearch summary b { font-weight: 600; }
.daskresearch summary:hover b { color: var(--dr-shared-text); }
.daskresearch .dr-body { padding: 0 0 6px 16px; overflow-x: auto; }
.daskresearch.daskresearch table { table-layout: auto; width: auto; margin: 2px 0 4px; border: 0;
  border-collapse: collapse; border-spacing: 0; font-size: 12px; color: var(--dr-text); }
.daskresearch.daskresearch tr { border: 0; }
.daskresearch.daskresearch thead { border-bottom: 1px solid var(--dr-border); }
.daskresearch.daskresearch th, .daskresearch.daskresearch td { padding: 3px 18px 3px 6px; border: 0;
  max-width: 420px; white-space: normal; overflow-wrap: anywhere; text-align: left;
  vertical-align: top; }
.daskresearch.daskresearch th { color: var(--dr-muted); font-weight: 500; white-space: nowrap; }
.daskresearch.daskresearch .dr-number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
.daskresearch.daskresearch td:first-child { font-weight: 600; }
.daskresearch.daskresearch td:first-child.dr-number { font-weight: 400; }
"""


def theme(scope: str) -> str:
    """Return the CSS that sets the palette in a scope, light or dark as its page.

    Examples
    --------
    >>> "--dr-paper: var(--jp-layout-color0, #ffffff);" in theme(".daskresearch")
    True
    """
    light = "".join(
        f" --dr-{name}: {_variable(colour.notebook, colour.light)};"
        for name, colour in PALETTE.items()
    )
    dark = "".join(
        f" --dr-{name}: {_variable(colour.notebook, colour.dark)};"
        for name, colour in PALETTE.items()
    )
    dark_pages = (
        "html[theme=dark]",
        "html[data-theme=dark]",
        "body[data-theme=dark]",
        "body[data-jp-theme-light=false]",
        "body.vscode-dark",
        "body.vscode-high-contrast",
    )
    # a page that is no notebook, or a picture by itself, follows the system
    other_page = (
        "html:not([theme]):not([data-theme]) > body:not([data-jp-theme-light]):not([data-theme])"
        ":not([data-vscode-theme-kind]):not(.notebook_app)"
    )
    return (
        f"{scope} {{{light} }}\n"
        f"{', '.join(f'{dark_page} {scope}' for dark_page in dark_pages)} {{{dark} }}\n"
        f"@media (prefers-color-scheme: dark) "
        f"{{ {other_page} {scope}, svg{scope}:root {{{dark} }} }}\n"
    )


def _variable(name: str, value: str) -> str:
    return f"var({name}, {value})" if name else value


def cut(text: str, limit: int = _LONGEST) -> str:
    """Return a text on one line, cut to a length with an ellipsis at its end.

    Examples
    --------
    >>> cut("a long name", 6)
    'a lon…'
    """
    line = " ".join(text[: 8 * limit].split())  # a text of a gigabyte is not read to its end
    return line if len(line) <= limit and len(text) <= 8 * limit else f"{line[: limit - 1]}…"


def escape(text: str) -> str:
    r"""Return a text that stands for itself in HTML and XML, whatever it holds.

    Examples
    --------
    >>> escape("<b> & '\ud800'")
    '&lt;b&gt; &amp; &#x27;�&#x27;'
    """
    return html.escape(_ILLEGAL.sub("\ufffd", text))


@final
class _Brief(reprlib.Repr):
    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 3, 60, _LONGEST


def text_of(value: Any, limit: int = _LONGEST) -> str:
    """Return a short text of a value: a function's or class's name, else its repr.

    Examples
    --------
    >>> text_of(len), text_of(list(range(1000))), text_of("x")
    ('len', '[0, 1, 2, 3, 4, 5, ...]', "'x'")
    """
    if isinstance(value, (FunctionType, BuiltinFunctionType, type)):
        return attempted(lambda: value.__name__, value, limit)
    return attempted(lambda: _Brief().repr(value), value, limit)


def attempted(write: Callable[[], str], value: Any, limit: int = _LONGEST) -> str:
    """Return the text of `write`, cut; the name of the value's type if it raises."""
    try:
        return cut(_ADDRESS.sub("", write()), limit)
    except Exception:  # the user's own __repr__ or __str__, which may not break the table around it
        return f"<{type(value).__name__}>"


def number(n: int | None) -> str:
    """Return a count with its thousands apart; ``?`` for None, an unknown count.

    Examples
    --------
    >>> number(1_000_000), number(None)
    ('1,000,000', '?')
    """
    return "?" if n is None else f"{n:,}"


def counted(n: int | None, noun: str) -> str:
    """Return a count with its noun, in the plural unless it is 1.

    Examples
    --------
    >>> counted(1, "node"), counted(1200, "node"), counted(None, "node")
    ('1 node', '1,200 nodes', '? nodes')
    """
    return f"{number(n)} {noun}{'' if n == 1 else 's'}"


def page(kind: str, name: str, facts: Iterable[str], body: str) -> str:
    """Return the HTML of a whole repr, with its stylesheet.

    Parameters
    ----------
    kind : str
        What the object is.
    name : str
        What the user calls it, or an empty text.
    facts : iterable of str
        Short texts that stand behind the name.
    body : str
        HTML.
    """
    title = f' <span class="dr-name">{escape(cut(name, 200))}</span>' if name else ""
    told = escape(" · ".join(facts))
    return (
        f'<div class="daskresearch"><style>{theme(".daskresearch")}{_STYLE}</style>'
        f'<div class="dr-head"><span class="dr-kind">daskresearch.{escape(kind)}</span>{title} '
        f'<div class="dr-note">{told}</div></div>{body}</div>'
    )


def section(title: str, body: str, note: str = "", *, is_open: bool = False) -> str:
    """Return a section that can be folded.

    Examples
    --------
    >>> section("Plan", "<p>empty</p>", "0 units")
    '<details><summary><b>Plan</b> <span class="dr-note">0 units</span></summary><div class="dr-body"><p>empty</p></div></details>'
    """  # noqa: E501
    told = f' <span class="dr-note">{escape(note)}</span>' if note else ""
    start = "<details open>" if is_open else "<details>"
    summary = f"<summary><b>{escape(title)}</b>{told}</summary>"
    return f'{start}{summary}<div class="dr-body">{body}</div></details>'


def paragraph(label: str, code: str = "") -> str:
    """Return a line of text, with code behind it if there is any.

    Examples
    --------
    >>> paragraph("composed as", "a=[1, 2]")
    '<p>composed as <code>a=[1, 2]</code></p>'
    """
    return f"<p>{escape(label)}{f' <code>{escape(code)}</code>' if code else ''}</p>"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], numbers: Collection[str] = ()
) -> str:
    """Return a table of texts.

    Parameters
    ----------
    columns : sequence of str
    rows : iterable of sequence of str
        A text for each column.
    numbers : collection of str
        The columns that hold numbers, which are aligned at the right.

    Examples
    --------
    >>> table(["x"], [["<1>"]])
    '<table><thead><tr><th>x</th></tr></thead><tbody><tr><td>&lt;1&gt;</td></tr></tbody></table>'
    """
    marks = [' class="dr-number"' if name in numbers else "" for name in columns]
    head = "".join(
        [f"<th{mark}>{escape(name)}</th>" for name, mark in zip(columns, marks, strict=True)]
    )
    lines = [
        "".join([f"<td{mark}>{escape(text)}</td>" for text, mark in zip(row, marks, strict=True)])
        for row in rows
    ]
    body = "".join([f"<tr>{line}</tr>" for line in lines])
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
