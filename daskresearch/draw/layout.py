"""Where boxes and lines stand in a picture.

*Columns* run from left to right and are wrapped into *bands*, as words are into the lines of a
text. Lines keep to their lanes (see `daskresearch.draw.stations`), so that they go around the
boxes; from band to band they go through the *gutter* between the two. A *back line* goes to any
column, through the gutter below its band.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import final

from daskresearch.draw.stations import Block, Hop, Key, Station, hops_of, middles_of, ordered

Point = tuple[float, float]

_MARGIN = 14.0
_TRACK = 9.0
_ARROW = 9.0
_BACK, _WRAP = 14.0, 24.0


@final
@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels from the top left."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The x of its right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The y of its lower edge."""
        return self.y + self.height

    @property
    def middle(self) -> float:
        """The y at which lines come and go."""
        return self.y + self.height / 2


@final
@dataclass(frozen=True, slots=True)
class Line:
    """A piece of a line, from a station to the next.

    Attributes
    ----------
    source : tuple of str
        The block that it comes from.
    target : tuple of str, optional
        The block at which it ends; None at a lane.
    points : tuple of Point
        Where it goes through. Points of different x and y are joined by a curve that begins and
        ends level.
    is_back : bool
    """

    source: Key
    target: Key | None
    points: tuple[Point, ...]
    is_back: bool = False


@final
@dataclass(frozen=True, slots=True)
class Layout:
    """A picture's boxes and lines.

    Attributes
    ----------
    boxes : Mapping of key to Box
    lines : tuple of Line
    bands : tuple of Box
        The extent of each band's boxes and lanes, without the space around them and without the
        centred block.
    width, height : float
    """

    boxes: Mapping[Key, Box]
    lines: tuple[Line, ...]
    bands: tuple[Box, ...]
    width: float
    height: float


@final
@dataclass(frozen=True, slots=True)
class Frame:
    """The space around columns.

    Attributes
    ----------
    bands : sequence of range
        The columns of each band.
    gaps : sequence of float
        The space behind each column.
    above, below : float
        The space above and below each band.
    centred : tuple of str, optional
        A block in the first column. It stands in the middle of its band, wherever its lines go,
        and may be taller than the band.
    """

    bands: Sequence[range]
    gaps: Sequence[float]
    above: float = 0.0
    below: float = 0.0
    centred: Key | None = None

    def band_of(self, column: int) -> int:
        """Return which band a column is in."""
        return next(i for i, band in enumerate(self.bands) if column in band)


def layers_of(upstream: Mapping[str, Collection[str]], first: int = 0) -> dict[str, int]:
    """Return the layer of each name, behind the names that it uses.

    A name that uses nothing stands just before its first user.

    Parameters
    ----------
    upstream : Mapping of str to collection of str
        The names that each name uses. Unknown names do not count, nor do uses that close a circle.
    first : int
        The first layer.

    Examples
    --------
    >>> layers_of({"load": [], "split": ["load"], "other": [], "train": ["split", "other"]})
    {'load': 0, 'split': 1, 'other': 1, 'train': 2}
    """
    layers: dict[str, int] = {}
    waiting = {
        name: {used for used in names if used in upstream and used != name}
        for name, names in upstream.items()
    }
    while waiting:
        ready = [name for name, names in waiting.items() if not names & waiting.keys()]
        for name in ready or [next(iter(waiting))]:
            layers[name] = max(
                [layers[used] + 1 for used in waiting.pop(name) if used in layers], default=first
            )
    users: dict[str, list[int]] = {}
    for name, names in upstream.items():
        for used in names:
            users.setdefault(used, []).append(layers[name])
    return {
        name: max(first, min(users[name]) - 1) if name in users and not names else layers[name]
        for name, names in upstream.items()
    }


def lay_out(
    blocks: Sequence[Block],
    links: Collection[tuple[Key, Key]],
    back_links: Collection[tuple[Key, Key]],
    frame: Frame,
) -> Layout:
    """Return the layout of blocks and of the lines between them.

    Parameters
    ----------
    blocks : sequence of Block
        The blocks of a column stand in this order, unless another lets fewer lines cross.
    links, back_links : collection of (key, key)
        Source and target. The target of a link is in a later column.
    frame : Frame

    Examples
    --------
    >>> a, b = Block(("unit", "a"), 0, 50, 20), Block(("unit", "b"), 1, 50, 20)
    >>> layout = lay_out([a, b], [(a.key, b.key)], [], Frame([range(2)], [30, 0]))
    >>> layout.boxes[b.key]
    Box(x=94.0, y=14.0, width=50, height=20)
    >>> layout.lines[0].points
    ((64.0, 24.0), (85.0, 24.0), (94.0, 24.0))
    """
    by_key = {block.key: block for block in blocks}
    hops = hops_of(by_key, links)
    columns: list[list[Station]] = [[] for _ in frame.gaps]
    for block in blocks:
        columns[block.column].append((block.key, block.column))
    for station in dict.fromkeys(itertools.chain.from_iterable(hops)):
        if station not in columns[station[1]]:
            columns[station[1]].append(station)
    columns = ordered(columns, hops)
    middles = middles_of(columns, hops, by_key)
    grid = _grid_of(by_key, columns, middles, hops, back_links, frame)
    lines = [grid.line(hop) for hop in hops] + [grid.back_line(i) for i in range(len(grid.backs))]
    right = max([band.right for band in grid.bands]) + (
        _WRAP + _TRACK * grid.n_turns if len(grid.bands) > 1 else 0.0
    )
    right = max([right, *[x + _ARROW for line in lines for x, _ in line.points]])
    return Layout(
        grid.boxes, tuple(lines), tuple(grid.bands), right + _MARGIN, grid.bottom + _MARGIN
    )


@final
@dataclass(frozen=True, slots=True)
class _Grid:
    """The positions of all stations, from which the lines follow.

    Attributes
    ----------
    columns : sequence of Box
        The extent of each column's stations.
    heights : Mapping of Station to float
        The height at which lines pass each.
    turns : sequence of list of key
        For each band, the blocks whose lines go on in the next band, from the top.
    gutters : sequence of float
        The height of each band's first track.
    backs : sequence of (key, key)
        Source and target of the back lines.
    column_of : Mapping of key to int
    """

    boxes: Mapping[Key, Box]
    columns: Sequence[Box]
    bands: Sequence[Box]
    heights: Mapping[Station, float]
    turns: Sequence[list[Key]]
    gutters: Sequence[float]
    backs: Sequence[tuple[Key, Key]]
    column_of: Mapping[Key, int]
    frame: Frame
    bottom: float

    @property
    def n_turns(self) -> int:
        """The most lines that go from a band to the next."""
        return max([len(keys) for keys in self.turns], default=0)

    def line(self, hop: Hop) -> Line:
        """Return the line of a hop."""
        (source, column), (key, following) = station, other = hop
        start, end = self._start(station), self._end(other)
        y, z = self.heights[station], self.heights[other]
        left, right = self.columns[following].x, self.columns[column].right
        band = self.frame.band_of(column)
        if self.frame.band_of(following) == band:
            between: tuple[Point, ...] = ((right, y), (left - _ARROW, z))
        else:
            rank, n = self.turns[band].index(source), len(self.turns[band])
            far = self.bands[band].right + _WRAP + _TRACK * (n - 1 - rank)
            near = self.bands[band + 1].x - _WRAP - _TRACK * rank
            track = self.gutters[band] + _TRACK * (n - 1 - rank)
            between = ((far, y), (far, track), (near, track), (near, z))
        is_end = key in self.boxes and self.column_of[key] == following
        points = dict.fromkeys([(start, y), *between, (end, z)])
        return Line(source, key if is_end else None, tuple(points))

    def back_line(self, i: int) -> Line:
        """Return the line of a back link."""
        source, target = self.backs[i]
        start, end = self.boxes[source], self.boxes[target]
        bands = [self.frame.band_of(self.column_of[key]) for key in (source, target)]
        out = self.columns[self.column_of[source]].right + _BACK + 3 + 2 * (i % 3)
        back = self.columns[self.column_of[target]].x - _BACK - 2 * (i % 3)
        tracks = [self.gutters[band] + _TRACK * (len(self.turns[band]) + i) for band in bands]
        points = [(start.right, start.middle), (out, start.middle), (out, tracks[0])]
        if bands[0] != bands[1]:
            margin = self.bands[0].x - _WRAP - _TRACK * (self.n_turns + i)
            points += [(margin, tracks[0]), (margin, tracks[1])]
        points += [(back, tracks[1]), (back, end.middle), (end.x, end.middle)]
        return Line(source, target, tuple(points), is_back=True)

    def _start(self, station: Station) -> float:
        key, column = station
        return self.boxes[key].right if self.column_of[key] == column else self.columns[column].x

    def _end(self, station: Station) -> float:
        key, column = station
        return self.boxes[key].x if self.column_of[key] == column else self.columns[column].x


def _grid_of(
    by_key: Mapping[Key, Block],
    columns: Sequence[Sequence[Station]],
    middles: Mapping[Station, float],
    hops: Sequence[Hop],
    back_links: Collection[tuple[Key, Key]],
    frame: Frame,
) -> _Grid:
    """Return the positions of all stations, from their heights within their bands."""
    backs = sorted(
        back_links, key=lambda pair: (by_key[pair[0]].column, by_key[pair[1]].column, pair)
    )
    turning = {
        (key, column)
        for (key, column), (_, following) in hops
        if frame.band_of(column) != frame.band_of(following)
    }
    turns = [
        [station[0] for station in columns[band[-1]] if station in turning] for band in frame.bands
    ]
    n_turns = max([len(keys) for keys in turns])
    wraps = _WRAP + _TRACK * (n_turns + len(backs)) if len(frame.bands) > 1 else 0.0
    heights: dict[Station, float] = {}
    extents, bands, gutters, boxes = [], [], [], {}
    y = _MARGIN
    for band, keys in zip(frame.bands, turns, strict=True):
        x = left = _MARGIN + wraps
        stations = [station for column in band for station in columns[column]]
        edges = [
            _edges(station, middles, by_key)
            for station in stations
            if station[0] != frame.centred or station[1] > 0
        ]
        top, bottom = (
            min([edge for edge, _ in edges], default=0.0),
            max([edge for _, edge in edges], default=0.0),
        )
        excess = 0.0
        if frame.centred is not None and band[0] == 0:
            middles = {**middles, (frame.centred, 0): (top + bottom) / 2}
            excess = (
                max(0.0, by_key[frame.centred].height - (bottom - top + frame.above + frame.below))
                / 2
            )
        shift = y + frame.above + excess - top
        for column in band:
            blocks = [by_key[key] for key, _ in columns[column] if by_key[key].column == column]
            width = max([block.width for block in blocks], default=0.0)
            extents.append(Box(x, top + shift, width, bottom - top))
            heights.update({station: middles[station] + shift for station in columns[column]})
            for block in blocks:
                middle = heights[block.key, column]
                boxes[block.key] = Box(
                    x + (width - block.width) / 2,
                    middle - block.height / 2,
                    block.width,
                    block.height,
                )
            x += width + frame.gaps[column]
        bands.append(Box(left, top + shift, extents[-1].right - left, bottom - top))
        n_tracks = len(keys) + len(backs)
        gutters.append(bands[-1].bottom + frame.below + excess + _TRACK)
        y = gutters[-1] + _TRACK * n_tracks
    column_of = {block.key: block.column for block in by_key.values()}
    return _Grid(boxes, extents, bands, heights, turns, gutters, backs, column_of, frame, y)


def _edges(
    station: Station, middles: Mapping[Station, float], by_key: Mapping[Key, Block]
) -> tuple[float, float]:
    half = by_key[station[0]].height / 2 if by_key[station[0]].column == station[1] else 0.0
    return middles[station] - half, middles[station] + half
