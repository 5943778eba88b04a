"""The picture of a task graph's nodes, with those of equal inputs on one sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from daskresearch.draw.layout import Box, Frame, lay_out, layers_of
from daskresearch.draw.stations import Block, Key
from daskresearch.draw.svg import label, path, picture, rectangle, tip, titled
from daskresearch.graph.trace import TaskKind, TaskNode
from daskresearch.markup import cut

_WIDTH, _HEIGHT = 116.0, 34.0
_SPACE, _PAD = 8.0, 10.0
_GAP = 50.0
_MOST_COLUMNS = 8
_MOST_IDS = 20
_LOOKS = {
    TaskKind.INPUT: ("domain", "config-out"),
    TaskKind.ROOT: ("shared", "shared-out"),
    TaskKind.EXPERIMENT: ("each", "line"),
    TaskKind.GROUP: ("each", "line"),
}


@final
@dataclass(frozen=True, slots=True)
class _Sheet:
    """A grid of nodes of one layer that take the outputs of the same nodes."""

    nodes: tuple[TaskNode, ...]
    layer: int

    @property
    def key(self) -> Key:
        """The key of the sheet's block."""
        return "sheet", self.nodes[0].key

    @property
    def n_columns(self) -> int:
        """How many nodes stand side by side."""
        n = len(self.nodes)
        return 1 if n <= 4 else min(round(math.sqrt(0.6 * n)), _MOST_COLUMNS)

    @property
    def block(self) -> Block:
        """The sheet as a block, with its column and size."""
        n_rows = -(-len(self.nodes) // self.n_columns)
        pad = 0.0 if len(self.nodes) == 1 else 2 * _PAD
        width = self.n_columns * (_WIDTH + _SPACE) - _SPACE + pad
        return Block(self.key, self.layer, width, n_rows * (_HEIGHT + _SPACE) - _SPACE + pad)

    def draw(self, box: Box) -> str:
        """Return the shapes of the sheet."""
        if len(self.nodes) == 1:
            return _draw_node(self.nodes[0], box.x, box.y)
        shapes = [rectangle(box.x, box.y, box.width, box.height, "panel", 9)]
        for i, node in enumerate(self.nodes):
            row, column = divmod(i, self.n_columns)
            x, y = (
                box.x + _PAD + column * (_WIDTH + _SPACE),
                box.y + _PAD + row * (_HEIGHT + _SPACE),
            )
            shapes.append(_draw_node(node, x, y))
        return "".join(shapes)


def draw_nodes(nodes: Sequence[TaskNode], n_hidden: int) -> str:
    """Return the picture of some nodes as SVG.

    Parameters
    ----------
    nodes : sequence of TaskNode
        A few hundred at most. Upstream nodes that are not among them are left out.
    n_hidden : int
        How many nodes the graph has beside these.

    Examples
    --------
    >>> load = TaskNode("load-0a1b2c3d", "load", TaskKind.ROOT)
    >>> train = TaskNode("train-4e5f6a7b", "train", TaskKind.EXPERIMENT, ("load-0a1b2c3d",))
    >>> svg = draw_nodes([load, train], 999_998)
    >>> "0a1b2c" in svg, "and 999,998 more nodes" in svg
    (True, True)
    """
    sheets = _sheets_of(nodes)
    shapes: list[str] = []
    width, height = 240.0, 20.0
    if sheets:
        n_columns = max(sheet.layer for sheet in sheets) + 1
        frame = Frame([range(n_columns)], [_GAP] * n_columns)
        layout = lay_out([sheet.block for sheet in sheets], _links(sheets), [], frame)
        looks = {sheet.key: _LOOKS[sheet.nodes[0].kind][1] for sheet in sheets}
        for key, look in looks.items():
            shapes += (
                [path(lines, look)]
                if (lines := [line.points for line in layout.lines if line.source == key])
                else []
            )
        shapes += [
            tip(*line.points[-1], f"{looks[line.source]}-tip")
            for line in layout.lines
            if line.target
        ]
        shapes += [sheet.draw(layout.boxes[sheet.key]) for sheet in sheets]
        width, height = max(layout.width, width), layout.height
    if n_hidden:
        noun = "node" if n_hidden == 1 else "nodes"
        shapes.append(
            label(16, height + 6, f"and {n_hidden:,} more {noun}", 11, width - 32, look="muted")
        )
        height += 20
    return picture(width, height, f"{len(nodes)} of {len(nodes) + n_hidden:,} nodes", shapes)


def _sheets_of(nodes: Sequence[TaskNode]) -> list[_Sheet]:
    """Return the sheets of some nodes, in the order of the nodes."""
    by_key = {node.key: node for node in nodes}
    layers = layers_of({key: node.upstream for key, node in by_key.items()})
    alike: dict[tuple[int, TaskKind, frozenset[str]], list[TaskNode]] = {}
    for key, node in by_key.items():
        alike.setdefault((layers[key], node.kind, frozenset(node.upstream)), []).append(node)
    used = {key for node in nodes for key in node.upstream}
    sheets = []
    for (layer, _, _), members in alike.items():
        # a line begins at the very node it comes from, so that one is no member of a sheet
        apart = [node for node in members if node.key in used]
        together = [node for node in members if node.key not in used]
        sheets += [_Sheet((node,), layer) for node in apart]
        sheets += [_Sheet(tuple(together), layer)] if together else []
    return sheets


def _links(sheets: Sequence[_Sheet]) -> list[tuple[Key, Key]]:
    owners = {node.key: sheet for sheet in sheets for node in sheet.nodes}
    links: dict[tuple[Key, Key], None] = {}
    for sheet in sheets:
        for key in sheet.nodes[0].upstream:
            if key in owners and owners[key].layer < sheet.layer:
                links[owners[key].key, sheet.key] = None
    return list(links)


def _draw_node(node: TaskNode, x: float, y: float) -> str:
    look = _LOOKS[node.kind][0]
    digest = node.key.rpartition("-")[2][:6]
    shapes = [
        rectangle(x, y, _WIDTH, _HEIGHT, look, 5),
        label(x + 8, y + 15, node.name, 11, _WIDTH - 16, is_bold=True),
        label(x + 8, y + 27, digest, 9.5, 60, look="muted"),
    ]
    if node.ids:
        told = node.ids[0][:8] if len(node.ids) == 1 else f"{len(node.ids):,} exp."
        shapes.append(label(x + _WIDTH - 8, y + 27, told, 8.5, 56, look="muted", anchor="end"))
    ids = "".join([f"\n{experiment_id}" for experiment_id in node.ids[:_MOST_IDS]])
    rest = f"\nand {len(node.ids) - _MOST_IDS:,} more" if len(node.ids) > _MOST_IDS else ""
    return titled(f"{cut(node.key, 200)}\n{node.kind.value}{ids}{rest}", "".join(shapes))
