"""The boxes of a plan's picture: the domain, units and variables.

The size of a box follows the plan alone, never its counts, so that two experiments look like a
million.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from daskresearch.draw.layout import Box
from daskresearch.draw.svg import (
    TIMES,
    fitted,
    label,
    rectangle,
    short_number,
    tag,
    titled,
    width_of,
)
from daskresearch.graph.preview import Counts
from daskresearch.markup import counted, number
from daskresearch.plan import WHOLE_CONFIG, Kind, Root, Unit
from daskresearch.plan.display import arguments_text, kind_text, saves_text, when_text

UNIT_WIDTH = 132.0
SHEET = 3.0
_SMALL_WIDTH, _SMALL_HEIGHT = 104.0, 36.0
_PAD = 9.0
_DOMAIN_WIDTH, _ROW = 160.0, 17.0
_MOST_PARAMETERS = 8
VARIABLE_WIDTH, VARIABLE_HEIGHT = 108.0, 24.0
_ICONS = {
    "function": "ƒ",
    "generator": "↻",
    "instance": "◇",
    "method": "○",
    "save": "↓",
    "dump": "↓",
    "input": "▦",
}


@final
@dataclass(frozen=True, slots=True)
class UnitCard:
    """The box of a unit, with the counts that it shows.

    Attributes
    ----------
    unit : Unit
    root : Root, optional
    counts : Counts
    """

    unit: Unit
    root: Root | None
    counts: Counts

    @property
    def is_small(self) -> bool:
        """Whether its box is small, as the unit calls no function of the user's."""
        return self.unit.kind in (Kind.SAVE, Kind.DUMP, Kind.INPUT)

    @property
    def is_steady(self) -> bool:
        """Whether the unit is a root that runs apart from the experiments."""
        return self.root is not None and self.root.is_steady

    @property
    def size(self) -> tuple[float, float]:
        """Width and height in pixels, with the sheets behind a root."""
        if self.is_small:
            return _SMALL_WIDTH, _SMALL_HEIGHT
        height = 57.0 + (14.0 if self.unit.config_names else 0.0)
        return (
            (UNIT_WIDTH, height)
            if self.root is None
            else (UNIT_WIDTH + 2 * SHEET, height + 14.0 + 2 * SHEET)
        )

    def draw(self, box: Box) -> str:
        """Return the shapes of the unit's box."""
        if self.is_small:
            look = "each" if self.root is None else "shared"
            shapes = [
                rectangle(box.x, box.y, box.width, box.height, look, 9),
                *self._words(box.x, box.y),
            ]
            return titled(self.title, "".join(shapes))
        if self.root is None:
            shapes = [
                rectangle(box.x, box.y, box.width, box.height, "each"),
                *self._words(box.x, box.y),
            ]
            return titled(self.title, "".join(shapes))
        width, height = box.width - 2 * SHEET, box.height - 2 * SHEET
        sheets = [
            rectangle(box.x + i * SHEET, box.y + (2 - i) * SHEET, width, height, "shared")
            for i in (2, 1, 0)
        ]
        return titled(self.title, "".join([*sheets, *self._words(box.x, box.y + 2 * SHEET)]))

    def _words(self, x: float, y: float) -> list[str]:
        kind = kind_text(self.unit)
        room = (_SMALL_WIDTH if self.is_small else UNIT_WIDTH) - 2 * _PAD
        when = "" if self.unit.kind is Kind.INSTANCE else when_text(self.unit.schedule)
        caption = f"{_ICONS[kind]} {kind}"
        if when and width_of(f"{caption}{when}", 9.5) + 8 > room:
            caption = _ICONS[kind]
        used = width_of(caption, 9.5)
        words = [label(x + _PAD, y + 15, caption, 9.5, room, look="muted")]
        if when:
            words.append(
                label(
                    x + _PAD + room, y + 15, when, 9.5, room - used - 6, look="muted", anchor="end"
                )
            )
        if self.is_small:
            return [*words, label(x + _PAD, y + 28, self.unit.name, 10.5, room)]
        words.append(label(x + _PAD, y + 31, self.unit.name, 12.5, room, is_bold=True))
        y += 31
        if self.unit.config_names:
            words.append(label(x + _PAD, y + 14, f"reads {self._reads}", 10, room, look="muted"))
            y += 14
        return [*words, *self._multiplicity(x + _PAD, y + 17, room)]

    def _multiplicity(self, x: float, y: float, room: float) -> list[str]:
        if self.root is None:
            return [label(x, y, self._calls_of_branch, 10.5, room)]
        first, second = self._calls_of_root
        return [
            label(x, y, first, 11, room, look="shared-text", is_bold=True),
            label(x, y + 13, second, 9.5, room, look="shared-text"),
        ]

    @property
    def _reads(self) -> str:
        names = sorted(self.unit.config_names)
        return "the whole config" if WHOLE_CONFIG in names else ", ".join(names)

    @property
    def _experiments_text(self) -> str:
        return short_count(self.counts.n_experiments)

    @property
    def _calls_of_root(self) -> tuple[str, str]:
        """Two lines: how often a root is called, and how often in a plain loop."""
        counts, name = self.counts, self.unit.name
        calls, plain = counts.calls.get(name), counts.calls_plain.get(name)
        if calls is None and plain is None and not self.is_steady:
            return _few(self.n_outputs, "pass", "passes"), f"instead of {self._experiments_text}"
        if counts.n_experiments is None:
            instead = self._experiments_text
        elif plain is None and self.unit.schedule.is_always:
            instead = f"{self._experiments_text}+"
        else:
            instead = short_number(plain)
        return _few(calls, "call", "calls"), f"instead of {instead}"

    @property
    def n_outputs(self) -> int | None:
        """How many outputs of a root all experiments share at a time; None if unknown."""
        counts, name = self.counts, self.unit.name
        calls, plain = counts.calls.get(name), counts.calls_plain.get(name)
        if self.is_small:
            return 1
        if self.is_steady:
            return calls
        if calls is not None and plain and counts.n_experiments is not None:
            return round(counts.n_experiments * calls / plain)
        return None if self.root is None or self.root.reads else counts.n_groups or None

    @property
    def _calls_of_branch(self) -> str:
        calls, n_experiments = self.counts.calls.get(self.unit.name), self.counts.n_experiments
        if calls is None:
            n_turns = self.unit.schedule.n_turns(self.counts.n_iters)
            is_once = n_experiments is None and n_turns == 1
            return f"{TIMES} {self._experiments_text}" + ("" if is_once else f" {TIMES} ?")
        return (
            f"{TIMES} {short_number(calls)}"
            if calls == n_experiments
            else _few(calls, "call", "calls")
        )

    @property
    def title(self) -> str:
        """The tooltip of the box: the unit's arguments, schedule and calls, line by line."""
        unit, name = self.unit, self.unit.name
        lines = [
            f"{name} ({kind_text(unit)}{', a root shared by experiments' if unit.is_root else ''})",
            f"arguments: {arguments_text(unit) or 'none'}",
            f"runs: {when_text(unit.schedule) or 'every iteration'}",
        ]
        if unit.saves is not None or unit.saves_dict:
            lines.append(f"saved to: {saves_text(unit)}")
        if name in self.counts.calls:
            plain = number(self.counts.calls_plain.get(name))
            lines.append(f"calls: {number(self.counts.calls[name])}, of a plain loop: {plain}")
        return "\n".join(lines)


def short_count(n_experiments: int | None) -> str:
    """Return the number of experiments in at most nine characters."""
    return "endless" if n_experiments is None else short_number(n_experiments)


def experiments_text(n_experiments: int | None) -> str:
    """Return the number of experiments with its noun.

    Examples
    --------
    >>> experiments_text(1), experiments_text(None)
    ('1 experiment', 'endless experiments')
    """
    return "endless experiments" if n_experiments is None else counted(n_experiments, "experiment")


def _few(n: int | None, singular: str, plural: str) -> str:
    return f"{short_number(n)} {singular if n == 1 else plural}"


def domain_size(parameters: Mapping[str, str]) -> tuple[float, float]:
    """Return the width and height of the domain's box."""
    n_rows = min(len(parameters), _MOST_PARAMETERS + 1)
    return _DOMAIN_WIDTH, 46.0 + (n_rows * _ROW + 16.0 if n_rows else 0.0)


def draw_domain(box: Box, n_experiments: int | None, parameters: Mapping[str, str]) -> str:
    """Return the box of the domain: the number of experiments and its parameters."""
    x, room = box.x + 10, box.width - 20
    noun = "experiment" if n_experiments == 1 else "experiments"
    words = [
        rectangle(box.x, box.y, box.width, box.height, "domain"),
        label(x, box.y + 18, "domain", 9.5, room, look="muted"),
        label(x, box.y + 35, short_count(n_experiments), 12.5, room, is_bold=True),
        label(x + room, box.y + 35, noun, 10, 70, look="muted", anchor="end"),
    ]
    y = box.y + 52
    names = list(parameters)
    shown = names if len(names) <= _MOST_PARAMETERS + 1 else names[:_MOST_PARAMETERS]
    if names:
        words.append(tag("path", {"d": f"M{x} {y - 6}h{room}"}, look="rule"))
    for name in shown:
        y += _ROW
        value = fitted(parameters[name], 10, room * 0.55)
        space = room - width_of(value, 10) - 8
        words += [
            label(x, y, name, 11, space),
            label(x + room, y, value, 10, room, look="muted", anchor="end"),
        ]
    if len(shown) < len(names):
        words.append(
            label(x, y + _ROW, f"and {len(names) - len(shown)} more", 10, room, look="muted")
        )
    title = "\n".join(
        [
            experiments_text(n_experiments),
            *[f"{name}: {value}" for name, value in list(parameters.items())[:100]],
        ]
    )
    return titled(title, "".join(words))


def draw_variable(box: Box, name: str, sources: Sequence[str]) -> str:
    """Return the box of a variable that units record."""
    title = f"{name}\nrecorded by {', '.join(sources)}"
    shapes = [
        rectangle(box.x, box.y, box.width, box.height, "record", box.height / 2),
        label(box.x + box.width / 2, box.y + 16, name, 11, box.width - 20, anchor="middle"),
    ]
    return titled(title, "".join(shapes))
