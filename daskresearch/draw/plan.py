"""The picture of a plan: left to right the domain, the units and their variables.

Roots that run apart from the experiments stand in the first columns. Behind them, on one panel,
stand the units that belong to the experiments. The layout follows the plan and the parameters, not
the counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from daskresearch.draw.cards import (
    VARIABLE_HEIGHT,
    VARIABLE_WIDTH,
    UnitCard,
    domain_size,
    draw_domain,
    draw_variable,
    experiments_text,
    short_count,
)
from daskresearch.draw.layout import Box, Frame, Layout, Line, Point, lay_out, layers_of
from daskresearch.draw.stations import Block, Key
from daskresearch.draw.svg import (
    label,
    path,
    picture,
    rectangle,
    short_number,
    tip,
    titled,
    width_of,
)
from daskresearch.graph.preview import Counts
from daskresearch.markup import counted, cut
from daskresearch.plan import Plan, Unit, roots_of

_MOST_LAYERS, _LAYERS_OF_BAND = 4, 3  # about as wide as a notebook
_MOST_VARIABLES = 8
_GAP, _FAN_GAP = 40.0, 78.0
_ABOVE, _BELOW = 26.0, 14.0
_SIDE = 12.0
_DOMAIN: Key = ("domain", "")


@final
@dataclass(frozen=True, slots=True)
class _Flow:
    """The column of each box, and the links between boxes.

    Attributes
    ----------
    cards : Mapping of str to UnitCard
    bands : sequence of range
        Columns; the first is the domain's.
    columns : Mapping of key to int
    variables : Mapping of key to list of Unit
        The units that record each variable. Where variables are many, the last share a key.
    links, back_links : sequence of (key, key)
    """

    cards: Mapping[str, UnitCard]
    bands: Sequence[range]
    columns: Mapping[Key, int]
    variables: Mapping[Key, list[Unit]]
    links: Sequence[tuple[Key, Key]]
    back_links: Sequence[tuple[Key, Key]]


def draw_plan(plan: Plan, counts: Counts, parameters: Mapping[str, str]) -> str:
    """Return the picture of a plan as SVG.

    Parameters
    ----------
    plan : Plan
    counts : Counts
    parameters : Mapping of str to str
        A few words on each parameter of the domain.

    Examples
    --------
    >>> from daskresearch import EC, Research
    >>> research = Research().add_callable("load", len, root=True)
    >>> plan = research.add_callable("train", abs, args=[EC("lr")]).plan
    >>> counts = Counts(100, 0, 101, 1, {"load": 100, "train": 100}, {"load": 1, "train": 100})
    >>> svg = draw_plan(plan, counts, {"lr": "100 values"})
    >>> "1 call" in svg, "instead of 100" in svg
    (True, True)
    """
    flow = _flow_of(plan, counts)
    sizes = {("unit", name): card.size for name, card in flow.cards.items()}
    sizes |= dict.fromkeys(flow.variables, (VARIABLE_WIDTH, VARIABLE_HEIGHT)) | {
        _DOMAIN: domain_size(parameters)
    }
    blocks = [Block(key, column, *sizes[key]) for key, column in flow.columns.items()]
    frame = Frame(flow.bands, _gaps_of(flow), _ABOVE, _BELOW, _DOMAIN)
    layout = lay_out(blocks, flow.links, flow.back_links, frame)
    shapes = [
        *_panels(flow, layout, counts),
        *_lines(flow, layout),
        draw_domain(layout.boxes[_DOMAIN], counts.n_experiments, parameters),
        *[card.draw(layout.boxes["unit", name]) for name, card in flow.cards.items()],
        *[_variable(key, units, layout.boxes[key]) for key, units in flow.variables.items()],
        *_fans(flow, layout, counts),
    ]
    n_units, n_experiments = len(plan.units), counts.n_experiments
    title = f"plan of {counted(n_units, 'unit')} for {experiments_text(n_experiments)}"
    if flow.back_links:
        shapes += _legend(layout.height)
    return picture(layout.width, layout.height + (18 if flow.back_links else 0), title, shapes)


def _flow_of(plan: Plan, counts: Counts) -> _Flow:
    roots = roots_of(plan, counts.n_iters)
    cards = {unit.name: UnitCard(unit, roots.get(unit.name), counts) for unit in plan.units}
    rank = {unit.name: i for i, unit in enumerate(plan.units)}
    uses = [
        (name, unit.name) for unit in plan.units for name in sorted(unit.upstream) if name in rank
    ]
    forward = [(name, user) for name, user in uses if rank[name] < rank[user]]
    layers = _layers(cards, forward)
    columns: dict[Key, int] = {_DOMAIN: 0}
    variables: dict[Key, list[Unit]] = {}
    bands: list[range] = []
    start = 0
    for part in _wrapped(sorted(set(layers.values()))):
        first = start + (0 if bands else 1)
        columns.update(
            {
                ("unit", name): first + part.index(layer)
                for name, layer in layers.items()
                if layer in part
            }
        )
        recorded = _recorded([unit for unit in plan.units if layers[unit.name] in part], len(bands))
        variables.update(recorded)
        columns.update(dict.fromkeys(recorded, first + len(part)))
        bands.append(range(start, first + len(part) + (1 if recorded else 0)))
        start = bands[-1].stop
    links: list[tuple[Key, Key]] = [
        (_DOMAIN, ("unit", unit.name)) for unit in plan.units if unit.config_names
    ]
    links += [(("unit", name), ("unit", user)) for name, user in forward]
    links += [(("unit", unit.name), key) for key, units in variables.items() for unit in units]
    is_forward = [columns[source] < columns[target] for source, target in links]
    backs: list[tuple[Key, Key]] = [
        (("unit", name), ("unit", user)) for name, user in uses if rank[name] >= rank[user]
    ]
    backs += itertools.compress(links, [not ahead for ahead in is_forward])
    return _Flow(
        cards, bands, columns, variables, list(itertools.compress(links, is_forward)), backs
    )


def _layers(cards: Mapping[str, UnitCard], forward: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Return the layer of each unit: roots that run apart from experiments come first."""
    upstream: dict[str, list[str]] = {name: [] for name in cards}
    for name, user in forward:
        upstream[user].append(name)
    apart = {name for name, card in cards.items() if card.is_steady}
    layers = layers_of({name: upstream[name] for name in cards if name in apart})
    first = max(layers.values(), default=-1) + 1
    inside = {name: upstream[name] for name in cards if name not in apart}
    return layers | layers_of(inside, first)


def _wrapped(layers: Sequence[int]) -> list[Sequence[int]]:
    """Return the layers in bands of about equal length; at least one band."""
    if len(layers) <= _MOST_LAYERS:
        return [layers]
    n_bands = -(-len(layers) // _LAYERS_OF_BAND)
    length = -(-len(layers) // n_bands)
    return [layers[i : i + length] for i in range(0, len(layers), length)]


def _recorded(units: Iterable[Unit], band: int) -> dict[Key, list[Unit]]:
    """Return the variables of a band's units; many variables share a last key."""
    sources: dict[str, list[Unit]] = {}
    for unit in units:
        names = [f"keys of {unit.name}"] if unit.saves_dict else unit.variables
        for name in names:
            sources.setdefault(name, []).append(unit)
    names = list(sources)
    shown = names if len(names) <= _MOST_VARIABLES else names[: _MOST_VARIABLES - 1]
    variables: dict[Key, list[Unit]] = {(f"variable-{band}", name): sources[name] for name in shown}
    if len(shown) < len(names):
        rest = names[len(shown) :]
        last = list(dict.fromkeys(unit for name in rest for unit in sources[name]))
        variables[f"more-{band}", f"{len(rest)} more: {', '.join(rest)}"] = last
    return variables


def _gaps_of(flow: _Flow) -> list[float]:
    """Return the space behind each column, wider where a root's output fans out."""
    gaps = [_GAP] * flow.bands[-1].stop
    for name in _fanning(flow):
        gaps[flow.columns["unit", name]] = _FAN_GAP
    return gaps


def _fanning(flow: _Flow) -> list[str]:
    """Return the roots whose users are called more often, as far as the plan tells."""
    fanning = []
    for (_, name), (kind, target) in flow.links:
        source, user = flow.cards.get(name), flow.cards.get(target) if kind == "unit" else None
        if source is None or user is None or source.root is None or name in fanning:
            continue
        root, other = source.root, user.root
        if other is None or (other.reads, other.is_of_group) != (root.reads, root.is_of_group):
            fanning.append(name)
    return fanning


def _fans(flow: _Flow, layout: Layout, counts: Counts) -> list[str]:
    """Return the labels behind roots that say how many users share an output."""
    shapes = []
    for name in _fanning(flow):
        targets = [
            flow.cards[target]
            for (_, source), (kind, target) in flow.links
            if source == name and kind == "unit"
        ]
        share = _share_of(flow.cards[name], targets, counts)
        if not share:
            continue
        text = f"1 → {share}"
        box = layout.boxes["unit", name]
        x, width = box.right + 5, width_of(text, 9.5)
        ends = [
            line.points[-1][1]
            for line in layout.lines
            if line.source == ("unit", name) and not line.is_back
        ]
        y = box.middle + (13 if ends and max(ends) <= box.middle > min(ends) else -6)
        ground = rectangle(x - 1, y - 9, width, 11, "paper", 3)
        shapes.append(
            titled(
                f"one output of {name} serves so many",
                ground + label(x, y, text, 9.5, width, look="fan"),
            )
        )
    return shapes


def _share_of(card: UnitCard, targets: Sequence[UnitCard], counts: Counts) -> str:
    """Return how many users share an output of a root; empty if no more than one does.

    Users are experiments where a unit of theirs is among the targets, else outputs of other roots.
    """
    n_outputs = card.n_outputs
    if any(target.root is None for target in targets):
        n_users = counts.n_experiments
        if n_users is None and n_outputs:
            return short_count(n_users)
    else:
        outputs = [target.n_outputs for target in targets]
        n_users = None if None in outputs else max([n for n in outputs if n is not None])
    if n_outputs is None or n_users is None:
        return "" if n_outputs == 0 else short_number(None)
    return "" if n_outputs in (0, n_users) else short_number(round(n_users / n_outputs))


def _lines(flow: _Flow, layout: Layout) -> list[str]:
    """Return the lines; those of a source are one shape, so that none darkens another."""
    pieces: dict[tuple[Key, str], list[Sequence[Point]]] = {}
    tips = []
    for line in sorted(layout.lines, key=lambda line: line.source != _DOMAIN):
        look = _look(flow, line)
        pieces.setdefault((line.source, "back" if line.is_back else look), []).append(line.points)
        if line.target is not None:
            tips.append(tip(*line.points[-1], f"{look}-tip"))
    return [path(lines, look) for (_, look), lines in pieces.items()] + tips


def _look(flow: _Flow, line: Line) -> str:
    if line.source == _DOMAIN:
        return "config-out"
    return (
        "shared-out" if not line.is_back and flow.cards[line.source[1]].root is not None else "line"
    )


def _panels(flow: _Flow, layout: Layout, counts: Counts) -> list[str]:
    """Return the panels on which units stand, with their captions."""
    is_lockstep = any(card.root is not None and not card.is_steady for card in flow.cards.values())
    shapes = []
    for band, extent in zip(flow.bands, layout.bands, strict=True):
        apart: list[Box] = []
        inside: list[Box] = []
        recorded: list[Box] = []
        for key, box in layout.boxes.items():
            if flow.columns[key] in band and key != _DOMAIN:
                is_apart = key[0] == "unit" and flow.cards[key[1]].is_steady
                (apart if is_apart else inside if key[0] == "unit" else recorded).append(box)
        y = extent.y - 9
        if inside:
            ground = _around(inside, extent)
            text = _lockstep_text(counts.n_groups) if is_lockstep else "each experiment"
            shapes.append(
                rectangle(
                    ground.x,
                    ground.y,
                    ground.width,
                    ground.height,
                    "lockstep" if is_lockstep else "panel",
                    10,
                )
            )
            shapes.append(
                _caption(
                    ground.x + 10,
                    y,
                    text,
                    ground.width - 20,
                    "shared-text" if is_lockstep else "muted",
                )
            )
        if apart:
            shapes.append(
                _caption(
                    min(box.x for box in apart),
                    y,
                    "shared by experiments",
                    _span(apart),
                    "shared-text",
                )
            )
        if recorded:
            shapes.append(_caption(recorded[0].x + 10, y, "recorded", recorded[0].width, "muted"))
    return shapes


def _lockstep_text(n_groups: int | None) -> str:
    return f"{short_number(n_groups)} group{'' if n_groups == 1 else 's'} in lock-step"


def _caption(x: float, y: float, text: str, width: float, look: str) -> str:
    return titled(text, label(x, y, text, 10.5, width, look=look))


def _span(boxes: Sequence[Box]) -> float:
    return max(box.right for box in boxes) - min(box.x for box in boxes)


def _around(boxes: Sequence[Box], band: Box) -> Box:
    left = min(box.x for box in boxes) - _SIDE
    return Box(left, band.y - _ABOVE, _span(boxes) + 2 * _SIDE, band.height + _ABOVE + _BELOW - 2)


def _variable(key: Key, units: Sequence[Unit], box: Box) -> str:
    return draw_variable(box, cut(key[1], 400), [unit.name for unit in units[:20]])


def _legend(y: float) -> list[str]:
    return [
        path([[(16, y), (46, y)]], "back"),
        label(54, y + 3.5, "the output of the iteration before", 10, 300, look="muted"),
    ]
