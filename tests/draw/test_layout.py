"""Layouts: whatever is asked for, boxes stand apart and lines go around them."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from daskresearch.draw.layout import Frame, lay_out, layers_of
from daskresearch.draw.stations import Block
from tests.support.strategies import law

CENTRED = ("domain", "")


@st.composite
def layouts(draw):
    """Draw blocks with links, links back and maybe a centred block, and lay them out."""
    n_columns = draw(st.integers(1, 6))
    heights = st.sampled_from([24.0, 60.0, 90.0])
    blocks = [Block(CENTRED, 0, 160.0, draw(st.sampled_from([50.0, 210.0])))]
    for column in range(1, n_columns + 1):
        for i in range(draw(st.integers(1, 4))):
            width = draw(st.sampled_from([100.0, 138.0]))
            blocks.append(Block(("unit", f"{column}-{i}"), column, width, draw(heights)))
    pairs = [
        (one.key, other.key) for one in blocks for other in blocks if one.column < other.column
    ]
    links = draw(st.lists(st.sampled_from(pairs), max_size=12, unique=True))
    units = [block.key for block in blocks[1:]]
    backs = draw(
        st.lists(st.tuples(st.sampled_from(units), st.sampled_from(units)), max_size=3, unique=True)
    )
    ends = sorted(draw(st.sets(st.integers(2, n_columns), max_size=2))) if n_columns > 1 else []
    bands = [range(*pair) for pair in itertools.pairwise([0, *ends, n_columns + 1])]
    frame = Frame(bands, [40.0] * (n_columns + 1), 26.0, 14.0, CENTRED)
    return lay_out(blocks, links, backs, frame), links, backs


def overlap(one, other):
    """Return whether two boxes have a point in common."""
    return (
        one.x < other.right
        and other.x < one.right
        and one.y < other.bottom
        and other.y < one.bottom
    )


def points_of(line):
    """Return points along a line, those of its curves too."""
    for (x, y), (u, v) in itertools.pairwise(line.points):
        for i in range(21):
            t = i / 20
            if x != u and y != v:
                bend = (x + u) / 2
                yield (
                    (1 - t) ** 3 * x + 3 * (1 - t) * t * bend + t**3 * u,
                    (1 - t) ** 2 * (1 + 2 * t) * y + t**2 * (3 - 2 * t) * v,
                )
            else:
                yield x + t * (u - x), y + t * (v - y)


@law
@given(layouts())
def test_boxes_stand_apart_and_inside_the_picture(drawn):
    layout, _, _ = drawn
    for one, other in itertools.combinations(layout.boxes.values(), 2):
        assert not overlap(one, other)
    for box in layout.boxes.values():
        assert box.x >= 0
        assert box.y >= 0
        assert box.right <= layout.width
        assert box.bottom <= layout.height


@law
@given(layouts())
def test_lines_cross_no_box_and_stay_inside_the_picture(drawn):
    layout, _, _ = drawn
    for line in layout.lines:
        for x, y in points_of(line):
            assert 0 <= x <= layout.width
            assert 0 <= y <= layout.height
            inside = [
                key
                for key, box in layout.boxes.items()
                if box.x < x < box.right and box.y < y < box.bottom
            ]
            assert inside == []


@law
@given(layouts())
def test_every_link_can_be_followed_from_its_source_to_its_target(drawn):
    layout, links, backs = drawn
    for source, target in links:
        reached = {(layout.boxes[source].right, layout.boxes[source].middle)}
        for _ in layout.boxes:
            starts = [
                line for line in layout.lines if line.source == source and line.points[0] in reached
            ]
            reached |= {line.points[-1] for line in starts if not line.is_back}
        assert (layout.boxes[target].x, layout.boxes[target].middle) in reached
    ends = [
        (line.source, line.target, line.points[0], line.points[-1])
        for line in layout.lines
        if line.is_back
    ]
    assert sorted((source, target) for source, target, _, _ in ends) == sorted(backs)
    for source, target, first, last in ends:
        assert first == (layout.boxes[source].right, layout.boxes[source].middle)
        assert last == (layout.boxes[target].x, layout.boxes[target].middle)


def test_a_chain_is_one_straight_line():
    blocks = [Block(("unit", str(i)), i, 100.0, 50.0 + i) for i in range(5)]
    links = [(one.key, other.key) for one, other in itertools.pairwise(blocks)]
    layout = lay_out(blocks, links, [], Frame([range(5)], [40.0] * 5))
    assert {y for line in layout.lines for _, y in line.points} == {
        layout.boxes["unit", "0"].middle
    }


def test_layers_do_not_loop_on_circles():
    assert layers_of({"a": ["b"], "b": ["a"], "c": ["b", "unknown"]}) == {"a": 0, "b": 1, "c": 2}
