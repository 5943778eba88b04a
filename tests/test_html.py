"""What objects show in a notebook: balanced HTML, every text escaped, cheap at any size."""

from html.parser import HTMLParser
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daskresearch import EC, Alias, Domain, NumpySampler, O, Option, Research
from daskresearch.domain.experiment import PlannedExperiment
from daskresearch.draw.research import research_html
from daskresearch.graph.preview import Counts
from daskresearch.markup import cut, text_of, theme
from daskresearch.results import ResearchResults
from daskresearch.results.display import head_of
from daskresearch.store import MemoryStore, Record
from tests.support.effort import few_calls
from tests.support.strategies import domains, law

TEXTS = st.text(st.characters(exclude_categories=()), min_size=1) | st.sampled_from(
    [
        "<script>alert(1)</script>",
        "\"'&<>",
        "</style>",
        "</details></div>",
        "\ud800",
        "\x00\x1b",
        "\u202eevil",
        "x" * 10_000,
    ]
)


class Broken:
    """A value that cannot be shown."""

    def __repr__(self):
        raise RuntimeError("no text")


class Page(HTMLParser):
    """The texts of a page, refused if an element is not closed where it should be."""

    def __init__(self, html):
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.names: set[str] = set()
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.names.add(tag)

    def handle_startendtag(self, tag, attrs):
        self.names.add(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.texts.append(data)

    @property
    def text(self):
        """All that is read when styles are stripped."""
        return " ".join(self.texts)


def text_in(shown):
    """Return the text of what an object shows, after checking the page."""
    page = Page(shown._repr_html_())
    assert not page.names & {"script", "link", "img", "iframe"}
    return page.text


def test_a_domain_shows_parameters_values_and_composition():
    domain = (
        Option("lr", [0.1, 0.01])
        * Option("layers", [Alias([64], "small"), max])
        * Option("n", list(range(100)))
    )
    text = text_in(domain)
    for part in ("400 configs", "3 parameters", "lr", "2 values", "0.1, 0.01", "small, max",
                 "100 values", "0, 1, 2, 3, 4, 5, …", "composed as",
                 "layers=[small, max]"):  # fmt: skip
        assert part in text


def test_a_domain_counts_the_values_of_all_its_terms():
    text = text_in(Option("a", [1, 2]) * Option("b", [1]) + Option("a", [2, 3]))
    assert "3 values" in text
    assert "1, 2, 3" in text


@pytest.mark.parametrize(
    ("domain", "part"),
    [
        (Domain(), "one empty config"),
        (Domain(x=NumpySampler("uniform")), "endless"),
        (Domain({f"p{i}": range(10**6) for i in range(300)}), "and 100 more parameters"),
        (Domain({f"p{i}": [1, 2] for i in range(2_000)}), "and 1,800 more parameters"),
        (sum(Option(f"p{i}", [i]) for i in range(3_000)), "3,000 configs"),
    ],
)
def test_domains_of_any_size_are_shown_at_once(domain, part):
    with few_calls(500_000):
        text = text_in(domain)
    assert part in text


@law
@given(domains())
def test_any_domain_is_shown(case):
    domain, _ = case
    assert f"{domain.size:,} config" in text_in(domain)


@law
@given(TEXTS, TEXTS)
def test_any_name_and_value_is_shown(name, value):
    domain = Option(name, [value, Alias(1, value), Broken()])
    page = text_in(domain)
    assert "Broken" in page
    research = Research(domain=domain).add_callable(
        f"{name}()", max, args=[value, Broken()], key=value, save_to="v"
    )
    assert "Broken" in text_in(research.plan)
    counts = Counts(1, 0, 1, 1, {name: 1}, {name: 1})
    html = research_html(value, domain, research.plan, counts)
    Page(html).text.encode()
    assert len(html) < 60_000


def test_a_plan_shows_its_units():
    plan = (
        Research()
        .add_generator("train", range, args=[EC("n")], root=True, save_to="i")
        .save(O("train"), "j", 3)
        .plan
    )
    text = text_in(plan)
    for part in ("2 units", "1 shared by experiments", "train", "generator", "EC('n')",
                 "every iteration", "i", "shared", "save_j", "save", "every 3rd"):  # fmt: skip
        assert part in text


def broken_at(x, at):
    """Return a number, or raise."""
    if x == at:
        raise ValueError(f"<no> {x}")
    return x / 3


def test_results_show_counts_head_and_failures():
    research = Research(domain=Option("x", list(range(30)))).add_callable(
        broken_at, args=[EC("x"), 1], save_to="y"
    )
    text = text_in(research.run(bar=False, dump_results=False).results)
    for part in (
        "30 experiments",
        "29 rows",
        "1 failure",
        "the first 10 of 29 rows",
        "0.666667",
        "ValueError('<no> 1')",
    ):
        assert part in text
    assert "3.66667" not in text  # of x = 11, the eleventh row


def test_results_without_rows_are_shown():
    text = text_in(Research().print("", end="").run(bar=False, dump_results=False).results)
    assert "the plan records nothing; give a unit `save_to`" in text
    assert "0 failures" in text
    store = MemoryStore(("y",))
    assert "nothing was recorded yet" in text_in(ResearchResults(store))
    assert repr(ResearchResults(store)) == "<ResearchResults: 0 experiments, 0 failures>"


@pytest.mark.parametrize("kept", [False, True], ids=["memory", "folder"])
def test_results_of_which_all_failed_say_so(kept, tmp_path):
    for n, which in ((1, "the only experiment"), (2, "all 2 experiments")):
        research = Research(str(tmp_path / str(n)), Option("x", list(range(n))))
        research = research.add_callable(lambda: 1 / 0, save_to="y")
        results = research.run(bar=False, dump_results=kept).results
        assert repr(results) == f"<ResearchResults: {which} failed; `failures` tells why>"
        text = text_in(results)
        assert f"{which} failed; `failures` tells why" in text
        assert "ZeroDivisionError" in text
        assert "nothing was recorded yet" not in text


def test_results_of_which_some_failed_and_others_recorded_nothing_say_so():
    research = Research(domain=Option("x", [0, 1])).add_callable(broken_at, args=[EC("x"), 1])
    research = research.save(lambda: 1, "y", when=5)
    text = text_in(research.run(bar=False, dump_results=False).results)
    assert "1 of 2 experiments failed; `failures` tells why. The others recorded nothing" in text


@law
@given(
    TEXTS,
    st.dictionaries(
        TEXTS.filter(lambda name: name not in ("id", "x")), TEXTS, min_size=1, max_size=3
    ),
)
def test_any_result_is_shown(text, output):
    store = MemoryStore()
    experiment = PlannedExperiment(0, "0", b"", b"", {text: text}, texts=(text,))
    cells = {name: {0: value} for name, value in output.items()}
    store.append(Record.of(0, 1, {**cells, "broken": {0: Broken()}}), experiment)
    assert "Broken" in text_in(ResearchResults(store, [text]))


def test_the_head_of_results_is_in_domain_order():
    store = MemoryStore()
    for position in reversed(range(40)):
        store.append(
            Record.of(position, 4, {"x": {i: position + i / 10 for i in range(4)}}),
            PlannedExperiment(position, f"id{position}", b"", b"", {}),
        )
    snapshot = store.snapshot()
    rows = head_of(snapshot)
    assert rows.columns["x"] == [0.0, 0.1, 0.2, 0.3, 1.0, 1.1, 1.2, 1.3, 2.0, 2.1]
    assert [snapshot.ids[i] for i in rows.experiments] == ["id0"] * 4 + ["id1"] * 4 + ["id2"] * 2


class Unread:
    """An experiment whose config nobody may look at, since there are too many."""

    id = ""

    @property
    def values(self):
        raise AssertionError("read")

    texts = values


def test_the_head_of_a_million_results_reads_only_its_own_configs():
    n = 10**6
    store = MemoryStore(("x",))
    first = [PlannedExperiment(i, str(i), b"", b"", {"a": i}, texts=(str(i),)) for i in range(10)]
    store._positions.extend(range(n))
    store._experiments.extend([*first, *[cast(PlannedExperiment, Unread())] * (n - 10)])
    store._of_rows.extend(range(n))
    store._iterations.extend([0] * n)
    store._columns["x"].extend(range(n))
    with few_calls(50_000):
        text = text_in(ResearchResults(store, ["a"]))
    assert "1,000,000 rows" in text


def test_a_research_shows_what_it_saves():
    domain = Option("x", list(range(100)))
    plan = (
        Research()
        .add_callable("load", len, args=["a"], root=True)
        .add_callable("f", max, args=[O("load")])
        .plan
    )
    html = research_html(
        "a <b>",
        domain,
        plan,
        Counts(100, 0, 101, 1, {"load": 100, "f": 100}, {"load": 1, "f": 100}),
    )
    text = Page(html).text
    for part in (
        "a <b>",
        "100 experiments",
        "101 nodes",
        "99 of 200 calls saved",
        "Domain",
        "Plan",
        "Calls",
        "99%",
    ):
        assert part in text
    assert "<svg" in html


def test_a_research_of_unknown_size_shows_question_marks():
    domain = Domain(x=NumpySampler("uniform"))
    plan = Research().add_generator("f", range, args=[3]).plan
    text = Page(
        research_html("r", domain, plan, Counts(None, None, None, None, {"f": None}, {"f": None}))
    ).text
    assert "endless" in text
    assert "? nodes" in text
    assert "saved" in text


@pytest.mark.parametrize(
    "dark",
    [
        "html[theme=dark]",
        "html[data-theme=dark]",
        "body[data-jp-theme-light=false]",
        "body.vscode-dark",
        "prefers-color-scheme: dark",
    ],
)
def test_the_theme_follows_the_page(dark):
    assert dark in theme(".x")
    # a light notebook stays light in a dark system
    assert "body:not([data-jp-theme-light])" in theme(".x")


def test_texts_are_short_and_without_addresses():
    assert text_of(lambda: 0) == "<lambda>"
    assert text_of([lambda: 0]).startswith("[<function test_texts_are")
    assert " at 0x" not in text_of([lambda: 0]) + text_of([object()])
    assert len(text_of("x" * 10**6)) <= 80
    assert len(cut("word " * 10**6)) == 80
