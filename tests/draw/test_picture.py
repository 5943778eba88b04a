"""Pictures of plans and nodes: well formed, readable at any size, and saved to files."""

import importlib
import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import matplotlib.image
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import EC, Alias, E, O, Option, Research
from daskresearch.domain.display import parameter_texts
from daskresearch.draw.picture import Picture, draw_nodes, draw_plan
from daskresearch.draw.svg import TIMES, width_of
from daskresearch.errors import PictureError
from daskresearch.graph.preview import Counts
from daskresearch.graph.trace import TaskKind, TaskNode
from daskresearch.plan import Kind, Plan, Unit
from tests.support.plans import research_of, runs
from tests.support.strategies import law

SVG = "{http://www.w3.org/2000/svg}"
CARDS = {"domain", "each", "shared", "record"}
LONG = "a_name_that_is_much_longer_than_any_box_" * 3


def counts_of(plan, n_experiments=24, n_groups=0, calls=None, plain=None):
    """Return counts in which every unit has the same calls."""
    names = [
        unit.name for unit in plan.units if unit.kind not in (Kind.SAVE, Kind.DUMP, Kind.INPUT)
    ]
    return Counts(
        n_experiments, n_groups, 30, 1, dict.fromkeys(names, plain), dict.fromkeys(names, calls)
    )


def sweep():
    """Return a research with roots, a generator, a schedule and a saved value."""
    research = Research(domain=Option("n", [2, 5]) * Option("lr", [Alias(0.1, "fast"), 0.01]))
    research = research.add_callable("load", len, args=["abc"], root=True)
    research = research.add_callable("pca", max, args=[O("load"), EC("n")], root=True)
    research = research.add_generator("train", range, args=[O("pca"), EC("lr")], save_to="loss")
    research = research.add_callable(
        "evaluate", max, args=[O("train")], when=[2, "last"], save_to=["a", "b"]
    )
    return research.save(O("evaluate"), "final", when="last")


def chain(n_units):
    """Return a research whose units use the unit before, an earlier one or the config."""
    research = Research(domain=Option("x", [1, 2]))
    for i in range(n_units):
        args: list[Any] = [
            O(f"unit_{j}") for j in {i - 1, i - 4 if i % 3 == 0 else i - 1} if j >= 0
        ]
        args += [EC("x")] if i % 5 == 0 else []
        research = research.add_callable(f"unit_{i}", max, args=args, root=i < 3, save_to=f"v_{i}")
    return research


def texts_of(svg):
    """Return the texts of a picture."""
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def cards_of(svg):
    """Return the boxes of a picture as left, top, right, bottom; a root's sheets are one box."""
    boxes = []
    for group in ElementTree.fromstring(svg).iter(f"{SVG}g"):
        rects = [[float(one.get(key)) for key in ("x", "y", "width", "height")]
                 for one in group.findall(f"{SVG}rect") if one.get("class") in CARDS]  # fmt: skip
        if rects:
            boxes.append(
                (
                    min(x for x, _, _, _ in rects),
                    min(y for _, y, _, _ in rects),
                    max(x + width for x, _, width, _ in rects),
                    max(y + height for _, y, _, height in rects),
                )
            )
    return boxes


def places_of(svg):
    """Return the boxes that texts fill at most, without the labels on lines."""
    places = []
    for text in ElementTree.fromstring(svg).iter(f"{SVG}text"):
        if text.get("class") != "fan":
            size = float(text.get("font-size"))
            width = width_of(text.text, size, is_bold=text.get("font-weight") is not None)
            x = (
                float(text.get("x"))
                - width * {None: 0, "middle": 0.5, "end": 1}[text.get("text-anchor")]
            )
            places.append((x, float(text.get("y")) - 0.7 * size, x + width, float(text.get("y"))))
    return places


def assert_apart(boxes):
    """Assert that no two boxes overlap."""
    for i, one in enumerate(boxes):
        for other in boxes[:i]:
            is_apart = (
                one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            )
            assert is_apart, (one, other)


def assert_readable(svg):
    """Assert that boxes and texts stand apart, and every text of a card inside it."""
    root = ElementTree.fromstring(svg)
    width, height = float(root.get("width")), float(root.get("height"))
    cards, places = cards_of(svg), places_of(svg)
    assert_apart(cards)
    assert_apart(places)
    for left, top, right, bottom in cards + places:
        assert 0 <= left <= right <= width
        assert 0 <= top <= bottom <= height
    for left, top, right, bottom in places:
        for box in cards:
            if box[0] < right and left < box[2] and box[1] < bottom and top < box[3]:
                assert box[0] <= left
                assert right <= box[2]


@law
@given(
    runs(),
    st.sampled_from([None, 1, 2, 10**6, 10**15]),
    st.sampled_from([None, 0, 1, 8]),
    st.integers(0, 30),
)
def test_no_box_or_text_of_a_plan_overlaps_another(spec, n, n_groups, n_parameters):
    research = research_of(spec)
    parameters = {f"{LONG[: 3 + i]}{i}": f"{10**i} values" for i in range(n_parameters)}
    assert_readable(
        draw_plan(research.plan, counts_of(research.plan, n, n_groups, n, n), parameters)
    )


@pytest.mark.parametrize("n_units", [0, 1, 2, 7, 8, 13, 30])
def test_no_box_or_text_of_a_long_plan_overlaps_another(n_units):
    research = chain(n_units)
    svg = draw_plan(research.plan, counts_of(research.plan), parameter_texts(research.domain.node))
    assert_readable(svg)
    root = ElementTree.fromstring(svg)
    assert float(root.get("width")) < 1_100  # about a notebook's
    assert root.get("style") == "max-width: none;"  # a page that has less room scrolls


def test_a_picture_tells_units_variables_and_counts():
    plan = sweep().plan
    counts = replace(
        counts_of(plan, 10**6),
        calls_plain=dict.fromkeys(["load", "pca", "train", "evaluate"], 10**6),
        calls={"load": 1, "pca": 4, "train": 10**6, "evaluate": None},
    )
    texts = texts_of(draw_plan(plan, counts, {"n": "2 values", "lr": "2 values"}))
    for text in ("1,000,000", "n", "lr", "2 values", "load", "pca", "reads n", "train", "evaluate",
                 "every 2nd, last", "loss", "a", "b", "final", "1 call", "4 calls",
                 "instead of 1,000,000", "1 → 4", "1 → 250,000", f"{TIMES} 1,000,000",
                 f"{TIMES} 1,000,000 {TIMES} ?", "shared by experiments", "each experiment",
                 "recorded"):  # fmt: skip
        assert text in texts


@pytest.mark.parametrize("research", [sweep(), chain(9)])
def test_two_experiments_look_like_a_million(research):
    def geometry(n):
        svg = draw_plan(
            research.plan, counts_of(research.plan, n, calls=n, plain=n), {"x": "2 values"}
        )
        return (
            ElementTree.fromstring(svg).get("viewBox"),
            cards_of(svg),
            re.findall(' d="[^"]*"', svg),
        )

    assert geometry(2) == geometry(10**6) == geometry(None)


def test_a_picture_is_the_same_each_time():
    research = chain(12)
    pictures = {
        draw_plan(research.plan, counts_of(research.plan), {"x": "2 values"}) for _ in range(3)
    }
    assert len(pictures) == 1


def test_lock_step_is_framed_and_the_groups_are_counted():
    research = Research().add_callable("load", len, args=["abc"], root=True)
    research = research.add_generator("batches", range, args=[O("load")], root=True)
    plan = research.add_callable("train", max, args=[O("batches")], save_to="loss").plan
    svg = draw_plan(plan, counts_of(plan, 24, 8), {})
    assert {"8 groups in lock-step", "8 passes", "instead of 24", "1 → 3"} <= set(texts_of(svg))
    (frame,) = [
        one
        for one in ElementTree.fromstring(svg).iter(f"{SVG}rect")
        if one.get("class") == "lockstep"
    ]
    left, right = float(frame.get("x")), float(frame.get("x")) + float(frame.get("width"))
    load, batches, train = cards_of(svg)[1:4]
    assert load[2] < left < batches[0] < train[2] < right
    assert "? groups in lock-step" in texts_of(draw_plan(plan, counts_of(plan, None, None), {}))


def test_roots_that_read_the_config_have_as_many_passes_as_their_values():
    research = Research().add_generator("batches", range, args=[EC("size")], root=True)
    plan = research.add_callable("train", max, args=[O("batches")]).plan
    counts = counts_of(plan, 24, 2)
    steady = Research().add_callable("load", len, args=["abc"], root=True).plan
    assert "instead of 24+" in texts_of(draw_plan(steady, counts_of(steady, 24, calls=1), {}))
    assert {"? passes", "1 → ?"} <= set(texts_of(draw_plan(plan, counts, {})))
    known = replace(
        counts,
        n_iters=5,
        calls_plain={"batches": 120, "train": 120},
        calls={"batches": 20, "train": 120},
    )
    assert {"20 calls", "instead of 120", "1 → 6"} <= set(texts_of(draw_plan(plan, known, {})))


def test_a_value_of_dask_is_a_small_box():
    given = Unit("given", Kind.INPUT, function=len, is_root=True)
    plan = Plan((given, *Research().add_callable("train", max, args=[O("given")]).plan.units))
    svg = draw_plan(plan, counts_of(plan, 24), {})
    assert_readable(svg)
    assert {"▦ input", "given", "1 → 24"} <= set(texts_of(svg))


def test_a_root_that_another_stands_for_serves_nobody():
    research = Research().add_callable("load", len, args=["abc"], root=True)
    plan = research.add_callable("train", max, args=[O("load")]).plan
    texts = texts_of(draw_plan(plan, counts_of(plan, 24, 0, 0, 24), {}))
    assert "0 calls" in texts
    assert not any(text.startswith("1 →") for text in texts)


def test_the_output_of_the_iteration_before_is_a_dashed_line():
    research = Research().add_callable("first", max, args=[O("second"), O("first")])
    plan = research.add_callable("second", max, args=[O("first")]).plan
    svg = draw_plan(plan, counts_of(plan), {})
    assert "the output of the iteration before" in texts_of(svg)
    assert svg.count('class="back"') == 3  # from either unit, and in the legend


def test_long_names_are_cut_and_kept_in_tooltips():
    plan = Research().add_callable(LONG, max, args=[EC(LONG)], save_to=f"{LONG}!").plan
    svg = draw_plan(plan, counts_of(plan), {LONG: LONG})
    assert_readable(svg)
    titles = "".join([title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title")])
    assert titles.count(LONG) >= 4
    assert max(len(text) for text in texts_of(svg)) < 40


def test_many_parameters_and_variables_are_cut_to_a_few():
    names = [f"v{i}" for i in range(40)]
    plan = Research().add_callable("f", max, save_to=names).plan
    texts = texts_of(draw_plan(plan, counts_of(plan), {f"p{i}": "2 values" for i in range(40)}))
    assert "and 32 more" in texts
    assert any(text.startswith("33 more: v7") for text in texts)


@law
@given(
    st.text(st.characters(exclude_categories=()), min_size=1),
    st.text(st.characters(exclude_categories=())),
)
def test_any_name_gives_well_formed_svg(name, other):
    plan = (
        Research()
        .add_callable(f"{name}()", max, args=[other, E().random])
        .add_callable("<&\"'>", max)
        .plan
    )
    svg = draw_plan(plan, counts_of(plan), {name: other, f"]]>{other}": "</svg><script>"})
    ElementTree.fromstring(svg)
    svg.encode()
    assert "<script" not in svg


def test_pictures_have_no_scripts_ids_or_links():
    svg = draw_plan(sweep().plan, counts_of(sweep().plan), {"n": "2 values"})
    assert re.findall(r"<script|\sid=|href|@import|url\(|\son\w+=", svg) == []


def nodes():
    """Return the nodes of a load, two decompositions and six experiments."""
    roots = [TaskNode("load-0a1b2c3d", "load", TaskKind.ROOT)]
    roots += [TaskNode(f"pca-{i}b1c2d3e", "pca", TaskKind.ROOT, (roots[0].key,)) for i in range(2)]
    trained = [
        TaskNode(f"train-{i}c1d2e3f", LONG, TaskKind.EXPERIMENT, (roots[1 + i % 2].key,))
        for i in range(6)
    ]
    return [*roots, *trained]


def test_nodes_have_names_digits_and_tooltips():
    svg = draw_nodes(nodes(), 999_984)
    assert_readable(svg)
    assert {"load", "0a1b2c", "pca", "1b1c2d", "and 999,984 more nodes"} <= set(texts_of(svg))
    titles = [title.text for title in ElementTree.fromstring(svg).iter(f"{SVG}title")]
    assert "train-5c1d2e3f\nall iterations of one experiment" in titles
    assert svg.count('class="shared-out-tip"') == 4  # one to each pca, one to the sheet of each


def test_hundreds_of_nodes_fit_and_unknown_ones_upstream_do_not_count():
    many = [
        TaskNode(f"train-{i:06x}", "train", TaskKind.EXPERIMENT, ("load-1",)) for i in range(400)
    ]
    svg = draw_nodes(many, 0)
    assert len(cards_of(svg)) == 400
    assert_apart(cards_of(svg))
    assert float(ElementTree.fromstring(svg).get("width")) < 2_500


@pytest.fixture
def picture():
    """Return a small picture."""
    return Picture(draw_nodes(nodes(), 1))


def test_pictures_are_saved_as_svg_and_html(picture, tmp_path):
    assert ElementTree.parse(picture.save(tmp_path / "nodes.svg")).getroot().tag == f"{SVG}svg"
    page = picture.save(str(tmp_path / "nodes.HTML")).read_text(encoding="utf-8")
    assert page.startswith("<!DOCTYPE html>")
    assert picture.svg in page
    assert picture._repr_svg_() == picture.svg
    assert picture.svg in picture._repr_html_()


def test_an_unknown_ending_is_refused(picture, tmp_path):
    with pytest.raises(PictureError, match=r"\.svg, \.html or \.png"):
        picture.save(tmp_path / "nodes.jpeg")


def png_or_skip(picture, path):
    """Return the pixels of a picture saved as PNG, as an array of shape (height, width, 3 or 4)."""
    try:
        importlib.import_module("cairosvg")
    except OSError as error:
        pytest.skip(f"the library cairo is not on this machine: {error}")
    return matplotlib.image.imread(picture.save(path))


@pytest.mark.parametrize("detail", ["units", "tasks"])
def test_png_has_the_size_and_the_colours_of_the_picture(detail, tmp_path):
    picture = sweep().visualize(detail=detail, n_iters=1)
    root = ElementTree.fromstring(picture.svg)
    pixels = png_or_skip(picture, tmp_path / "plan.png")
    assert pixels.shape[:2] == (2 * int(root.get("height")), 2 * int(root.get("width")))
    channels = (pixels[..., :3] * 255).round().astype(int)
    colours = {f"#{colour:06x}" for colour in np.unique(channels @ [256**2, 256, 1])}
    looks = {element.get("class") for element in root.iter()} & {"shared", "domain", "record"}
    filled = [element.get("fill") for element in root.iter() if element.get("class") in looks]
    assert {"#ffffff", *filled} <= colours
    is_dark = (pixels[..., :3] < 0.3).all(axis=-1)
    assert 0.001 < is_dark.mean() < 0.2  # the letters


@pytest.mark.parametrize("error", [ImportError, OSError])
def test_png_without_cairo_says_what_to_install(picture, error, monkeypatch, tmp_path):
    def missing(name):
        raise error(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(
        PictureError, match=r"needs the package cairosvg .*daskresearch\[png\].*libcairo2"
    ):
        picture.save(tmp_path / "nodes.png")
    assert not (tmp_path / "nodes.png").exists()
