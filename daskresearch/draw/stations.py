"""The order and the heights of blocks and lines in their columns.

A *line* goes from a block to a block in a later column. In each column between, it has a *lane*, so
that it crosses no box; the lines of one block share their lanes. A *station* is a block, or a lane
in a column: the pair of the block's key and the column. A *hop* is the step of a line from a
station to a station of the next column.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right, insort
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

Key = tuple[str, str]
Station = tuple[Key, int]
Hop = tuple[Station, Station]

_BLOCK_GAP, _LANE_GAP, _BLOCK_TO_LANE = 22.0, 9.0, 16.0
_SWEEPS = 6
_STRAIGHT = 4.0
_LEVEL, _LEVEL_OF_MANY = 16.0, 5.0
_STIFF = 20.0


@final
@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle that is to stand in a column.

    Attributes
    ----------
    key : tuple of str
    column : int
    width, height : float
        Pixels.
    """

    key: Key
    column: int
    width: float
    height: float


def hops_of(by_key: Mapping[Key, Block], links: Iterable[tuple[Key, Key]]) -> list[Hop]:
    """Return the hops of all lines, once where the lines of a block share them."""
    hops: dict[Hop, None] = {}
    for source, target in links:
        start, end = by_key[source].column, by_key[target].column
        stations = [(source, column) for column in range(start, end)] + [(target, end)]
        hops.update(dict.fromkeys(itertools.pairwise(stations)))
    return list(hops)


def _neighbours(hops: Iterable[Hop]) -> tuple[dict[Station, list[Station]], ...]:
    before: dict[Station, list[Station]] = {}
    after: dict[Station, list[Station]] = {}
    for station, following in hops:
        after.setdefault(station, []).append(following)
        before.setdefault(following, []).append(station)
    return before, after


def ordered(columns: list[list[Station]], hops: Sequence[Hop]) -> list[list[Station]]:
    """Return the columns in orders in which few lines cross.

    Each sweep sorts the stations of a column by the mean rank of their neighbours.
    """
    before, after = _neighbours(hops)
    best, fewest = columns, _n_crossings(columns, hops)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        near = before if sweep % 2 == 0 else after
        rank = {station: float(i) for column in columns for i, station in enumerate(column)}
        new = []
        for column in columns if sweep % 2 == 0 else reversed(columns):
            order = {
                station: (_mean([rank[other] for other in near.get(station, [station])]), i)
                for i, station in enumerate(column)
            }
            new.append(sorted(column, key=order.__getitem__))
            rank.update({station: float(i) for i, station in enumerate(new[-1])})
        columns = new if sweep % 2 == 0 else new[::-1]
        n_crossings = _n_crossings(columns, hops)
        if n_crossings < fewest:
            best, fewest = columns, n_crossings
    return best


def _n_crossings(columns: Sequence[Sequence[Station]], hops: Iterable[Hop]) -> int:
    rank = {station: i for column in columns for i, station in enumerate(column)}
    n_crossings = 0
    for _, part in itertools.groupby(
        sorted((start[1], rank[start], rank[end]) for start, end in hops), lambda hop: hop[0]
    ):
        ends: list[int] = []
        for _, _, end in part:
            n_crossings += len(ends) - bisect_right(ends, end)
            insort(ends, end)
    return n_crossings


def _mean(values: Sequence[float], weights: Sequence[float] | None = None) -> float:
    weights = weights or [1.0] * len(values)
    return sum([value * weight for value, weight in zip(values, weights, strict=True)]) / sum(
        weights
    )


def middles_of(
    columns: Sequence[Sequence[Station]], hops: Iterable[Hop], by_key: Mapping[Key, Block]
) -> dict[Station, float]:
    """Return the height of each station's middle, near those of its neighbours.

    Stations of a column keep their order, and their distance from those above and below.
    """
    before, after = _neighbours(hops)
    gaps = [[_distance(*pair, by_key) for pair in itertools.pairwise(column)] for column in columns]
    middles: dict[Station, float] = {}
    for column, distances in zip(columns, gaps, strict=True):
        middles.update(zip(column, _settled([0.0] * len(column), distances), strict=True))
    for sweep in range(2 * _SWEEPS):
        nears = [before] if sweep % 3 == 0 else [after] if sweep % 3 == 1 else [before, after]
        numbers = range(len(columns)) if sweep % 2 == 0 else reversed(range(len(columns)))
        for i in numbers:
            wanted = [_wanted(station, nears, middles) for station in columns[i]]
            middles.update(zip(columns[i], _settled(wanted, gaps[i]), strict=True))
    for near in (before, after, before):
        for i in range(len(columns)) if near is before else reversed(range(len(columns))):
            wanted = [_levelled(station, near, middles) for station in columns[i]]
            weights = [1.0 if by_key[key].column == i else _STIFF for key, _ in columns[i]]
            middles.update(zip(columns[i], _settled(wanted, gaps[i], weights), strict=True))
    return middles


def _levelled(
    station: Station, near: Mapping[Station, list[Station]], middles: Mapping[Station, float]
) -> float:
    """Return a neighbour's height where it is almost the station's: a straight line."""
    own = middles[station]
    others = [middles[other] for other in near.get(station, [])]
    closest = min(others, key=lambda middle: abs(middle - own), default=own)
    most = _LEVEL if len(others) == 1 else _LEVEL_OF_MANY
    return closest if abs(closest - own) <= most else own


def _wanted(
    station: Station,
    nears: Sequence[Mapping[Station, list[Station]]],
    middles: Mapping[Station, float],
) -> float:
    """Return the mean height of a station's neighbours; those of its line weigh most."""
    others = [other for near in nears for other in near.get(station, [])]
    if not others:
        return middles[station]
    return _mean(
        [middles[other] for other in others],
        [_STRAIGHT if other[0] == station[0] else 1.0 for other in others],
    )


def _height(station: Station, by_key: Mapping[Key, Block]) -> float:
    block = by_key[station[0]]
    return block.height if block.column == station[1] else 0.0


def _distance(above: Station, below: Station, by_key: Mapping[Key, Block]) -> float:
    heights = [_height(above, by_key), _height(below, by_key)]
    gap = _BLOCK_GAP if all(heights) else _BLOCK_TO_LANE if any(heights) else _LANE_GAP
    return sum(heights) / 2 + gap


def _settled(
    wanted: Sequence[float], distances: Sequence[float], weights: Sequence[float] = ()
) -> list[float]:
    """Return the heights nearest to the wanted ones that keep order and distances.

    Nearest is by least squares.

    Examples
    --------
    >>> _settled([0, 0, 50], [10, 10])
    [-5.0, 5.0, 50.0]
    """
    offsets = list(itertools.accumulate(distances, initial=0.0))
    # stations that stand as close as they may: their mean, their weight and their number
    runs: list[tuple[float, float, int]] = []
    for i, want in enumerate(wanted):
        runs.append((want - offsets[i], weights[i] if weights else 1.0, 1))
        while len(runs) > 1 and runs[-2][0] > runs[-1][0]:
            (mean, weight, n), (mean_above, weight_above, n_above) = runs.pop(), runs.pop()
            merged = _mean([mean, mean_above], [weight, weight_above])
            runs.append((merged, weight + weight_above, n + n_above))
    means = itertools.chain.from_iterable([[mean] * n for mean, _, n in runs])
    return [round(mean + offset, 1) for mean, offset in zip(means, offsets, strict=False)]
