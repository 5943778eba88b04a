"""Whatever others put into a folder is refused in plain words, or does no harm."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import cloudpickle
import numpy as np
import pytest

from daskresearch import EC, EP, Alias, Domain, Option, Research, ResearchResults, S
from daskresearch.errors import ResearchError, StorageError
from tests.support.hostile import ATTACKS, NEVER_LOADED, PICKLES, Payload, Scene
from tests.support.running import note, noted, rows, saying

SECONDS = 20


def recorded(x):
    return x, np.full(1000, float(x))


def research(folder: Path | str) -> Research:
    described = Research(str(folder), Option("x", [1, 2]))
    return described.add_callable("record", recorded, args=[EC("x")], save_to=["value", "big"])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a scene before any attack."""
    root = tmp_path_factory.mktemp("hostile")
    research(root / "inside").run(seed=1, bar=False)
    (root / "outside").mkdir()
    (root / "outside" / "secret.txt").write_text("secret")
    return root


@pytest.fixture
def scene(good: Path, tmp_path: Path) -> Iterator[Scene]:
    """Return a copy of the good scene, and see to it that nothing takes for ever."""
    root = tmp_path / "scene"
    shutil.copytree(good, root)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail(f"not done in {SECONDS} s"))
    signal.alarm(SECONDS)
    yield Scene(root)
    signal.alarm(0)


LOOKS: Mapping[str, Callable[[str], object]] = {
    "table": lambda name: ResearchResults(name).to_df(remove_auxilary=False),
    "long table": lambda name: ResearchResults(name).to_df(pivot=False),
    "texts": lambda name: ResearchResults(name).to_df(
        use_alias=True, concat_config=True, remove_auxilary=False
    ),
    "filters": lambda name: ResearchResults(name).to_df(
        iterations=0, x=1, alias={"x": "1"}, domain=Domain(x=[1])
    ),
    "lazy arrays": lambda name: [
        np.asarray(array) for array in ResearchResults(name).to_df(arrays="lazy").big
    ],
    "dask": lambda name: ResearchResults(name).ddf.compute(scheduler="sync"),
    "xarray": lambda name: ResearchResults(name).to_xarray(),
    "configs": lambda name: ResearchResults(name).configs_to_df(),
    "failures": lambda name: ResearchResults(name).failures,
    "artifacts": lambda name: ResearchResults(name).artifacts_to_df(),
    "output": lambda name: ResearchResults(name).output_to_df(),
    "repr": lambda name: repr(ResearchResults(name)),
    "html": lambda name: ResearchResults(name)._repr_html_(),
    "research": lambda name: repr(Research.load(name)),
    "preview": lambda name: Research.load(name).preview(),
    "monitor": lambda name: (Research.load(name).monitor.n_failed, Research.load(name).is_finished),
    "resume": lambda name: research(name).run(bar=False, resume=True),
    "resume with what changed": lambda name: research(name).run(bar=False, resume="changed"),
    "table after": lambda name: ResearchResults(name).df,
    "remove": lambda name: Research.remove(name, ask=False),
}
"""All that one may do with a folder; anything but a `ResearchError` is a fault of the library."""


def contents(folder: Path) -> dict[str, bytes]:
    """Return what is in a folder, by path."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.slow  # all together
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
@pytest.mark.filterwarnings("ignore::daskresearch.errors.ChangedUnitsWarning")
def test_a_folder_is_refused_or_read_without_harm(attack, scene):
    attack(scene)
    outside = contents(scene.outside)
    for look in LOOKS.values():
        with suppress(ResearchError):
            look(str(scene.folder))
    assert not scene.mark.exists()
    assert contents(scene.outside) == outside
    assert {path.name for path in scene.root.iterdir()} <= {"inside", "outside"}


def test_the_looks_at_a_good_folder_raise_nothing(scene):
    for look in LOOKS.values():
        look(str(scene.folder))
    assert not scene.folder.exists()


EXPERIMENTS = ("inside/experiments/", ".parquet", "remove it, or restore it")
RESULTS = ("inside/results/", ".parquet", "remove it, or restore it")

REFUSED = {
    "cell: an unknown tag": ("'new'", "does not know"),
    "cell: an array with a huge shape": ("'npy'", "damaged"),
    "cell: an array with a huge head": ("'npy'", "damaged"),
    "cell: a deep literal": ("'literal'", "damaged"),
    "cell: a deep text of JSON": ("'json'", "damaged"),
    "cell: a zone that is a path": ("datetime:../../../etc/passwd", "damaged"),
    "cell: texts that are no UTF-8": ("type string", "damaged"),
    "pickle: an array of objects": ("'npy'", "damaged"),
    "pickle: a literal": ("'literal'", "damaged"),
    "pickle: a codec of zarr": ("arrays.zarr", "was the folder changed?"),
    "reference: a path out": ("'../../outside/secret[0]'", "refers to no array"),
    "reference: a path of dots": ("'../..[0]'", "refers to no array"),
    "reference: a path with a NUL": ("refers to no array",),
    "reference: a row that is not there": ("[7]", "only 2 were kept"),
    "array: a huge array": ("declares an array of 8000000000000000000 bytes", "memory"),
    "array: a huge chunk": ("declares a chunk of 16000000000000000000 bytes", "memory"),
    "array: tiny chunks of a large array": ("100000000 chunks",),
    "array: a broken chunk": ("cannot be read", "was the folder changed?"),
    "array: no chunk": ("there is no", "copied in part"),
    "experiments: no column position": (*EXPERIMENTS, '"position"'),
    "experiments: two columns of one name": (*EXPERIMENTS, "exists 2 times"),
    "experiments: negative numbers of rows": ("results/", "from -1 to 3"),
    "experiments: too many rows": ("has 2 rows", "recorded 4"),
    "experiments: numbers of rows that overflow": ("results/", "has 2 rows"),
    "experiments: nothing in n_rows": (*EXPERIMENTS, "'n_rows'"),
    "experiments: texts in position": EXPERIMENTS,
    "experiments: lists in id": EXPERIMENTS,
    "experiments: bytes in _types": EXPERIMENTS,
    "experiments: tags that are no JSON": ("'_types'", "no tags"),
    "experiments: aliases that are no JSON": ("inside/experiments", "restore"),
    "experiments: aliases that are deep": ("inside/experiments", "restore"),
    "experiments: facts that are deep": EXPERIMENTS,
    "results: fewer rows": ("has 1 rows", "recorded 2"),
    "results: no iterations": (*RESULTS, "'iteration'"),
    "results: iterations of texts": RESULTS,
    "results: iterations of nothing": (*RESULTS, "'iteration'"),
    "results: tags that are deep": ("'_types'", "no tags"),
    "results: tags that are lists": ("'_types'", "no tags"),
    "results: an empty file": RESULTS,
    "results: a folder": RESULTS,
    "file: a part of a strange name": ("no path inside of a results folder",),
    "file: a pipe in place of experiments": ("no regular file", "remove"),
    "file: a pipe in place of the description": ("no regular file", "remove"),
    "file: a pipe in place of a chunk": ("no regular file", "remove"),
    "description: no JSON": ("research.json", "restore"),
    "description: deep JSON": ("research.json", "restore"),
    "description: a list": ("research.json", "restore"),
    "description: a newer format": ("format 2", "upgrade"),
    "description: seed is 'text'": ("'seed'", "'text'"),
    "description: variables is [[]]": ("'variables'",),
    "link: the results": ("link", "leads out", "remove the link"),
    "link: the experiments": ("link", "leads out", "remove the link"),
    "link: a file of results": ("link", "leads out", "remove the link"),
    "link: the arrays": ("link", "leads out", "remove the link"),
    "link: a chunk of an array": ("link", "remove it"),
    "link: the metadata of an array": ("link", "remove it"),
    "link: a chunk that is a device": ("link", "remove it"),
    "link: the description": ("link", "leads out", "remove the link"),
    "link: a device": ("link", "leads out", "remove the link"),
}
"""Attacks of which the table must tell, and in which words."""


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_wrong_with_a_folder_is_said(name, scene):
    ATTACKS[name](scene)
    with pytest.raises(StorageError, match=saying(*REFUSED[name])):
        LOOKS["table"](str(scene.folder))


def test_deep_lists_are_read_or_refused(scene):
    ATTACKS["cell: deep lists"](scene)
    with suppress(StorageError):  # newer releases of pyarrow read no such schema
        (value, _) = ResearchResults(str(scene.folder)).df["value"]
        assert len(value) == 1


READ = [
    "pickle: the metadata of arrow",
    "pickle: an extension type",
    "cell: large texts",
    "cell: coded texts",
    "cell: half floats",
    "experiments: ids that lead out",
    "experiments: long ids",
    "experiments: ids of case",
    "results: ids of others",
    "file: other files",
    "file: artifacts of others",
    "link: an artifact",
    "link: the folder of an experiment",
    "link: the plan",
]
"""Attacks that change nothing of the large arrays."""


@pytest.mark.parametrize("name", READ)
def test_what_does_no_harm_is_read(name, scene):
    ATTACKS[name](scene)
    frame = ResearchResults(str(scene.folder)).df
    assert [array.tolist() for array in frame.big] == [[1.0] * 1000, [2.0] * 1000]


def test_arrays_under_names_that_lead_out_are_not_looked_for(scene):
    ATTACKS["experiments: variables and arrays that lead out"](scene)
    assert len(ResearchResults(str(scene.folder)).df) == 0


# pickles


@pytest.mark.parametrize("place", PICKLES)
def test_a_pickle_is_shown_and_loaded_only_if_one_asks(place, scene):
    PICKLES[place](scene)

    def look(results: ResearchResults) -> str:
        return repr([*results.df.to_dict("records"), *results.failures.exception])

    text = look(ResearchResults(str(scene.folder)))
    assert "ValueError()" in text if place == "a failure" else "read with allow_pickle=True" in text
    assert not scene.mark.exists()
    look(ResearchResults(str(scene.folder), allow_pickle=True))
    assert scene.mark.exists()


@pytest.mark.parametrize("place", NEVER_LOADED)
def test_what_is_no_pickle_is_never_loaded_as_one(place, scene):
    NEVER_LOADED[place](scene)
    results = ResearchResults(str(scene.folder), allow_pickle=True)
    for look in (
        lambda: results.df,
        lambda: results.failures,
        results.configs_to_df,
        results.to_xarray,
    ):
        with suppress(ResearchError):
            look()
    assert not scene.mark.exists()


def test_the_plan_is_unpickled_only_if_one_asks(scene):
    (scene.folder / "plan.pkl").write_bytes(scene.payload)
    loaded = Research.load(str(scene.folder))
    assert list(loaded.results.df.value) == [1, 2]
    assert len(loaded.preview()) == 1
    with pytest.raises(ResearchError, match=saying("allow_pickle=True", "trust")):
        loaded.run(bar=False, resume=True)
    assert not scene.mark.exists()
    with pytest.raises(ResearchError, match="no Research but NoneType"):
        Research.load(str(scene.folder), allow_pickle=True)
    assert scene.mark.exists()


@pytest.mark.parametrize(
    "content", [b"", b"no pickle", cloudpickle.dumps(5), cloudpickle.dumps(Payload)[:-20]], ids=repr
)
def test_a_plan_that_is_none_is_refused(content, scene):
    (scene.folder / "plan.pkl").write_bytes(content)
    with pytest.raises(ResearchError, match=saying("plan of", str(scene.folder))):
        Research.load(str(scene.folder), allow_pickle=True)


def test_a_folder_that_is_gone_on_with_is_read_without_its_pickles(scene):
    PICKLES["a cell"](scene)
    resumed = research(scene.folder).run(bar=False, resume=True)
    assert "read with allow_pickle=True" in repr(list(resumed.results.df.value))
    assert not scene.mark.exists()


# links


def writing(folder: Path, calls: Path, **options) -> Research:
    def write(path, x):
        note(calls, x)
        Path(path, "artifact.txt").write_text(f"of {x}")

    described = Research(str(folder), Option("x", [1, 2])).add_callable(
        "write", write, args=[EP(), EC("x")]
    )
    return described.run(seed=1, bar=False, **options)


@pytest.mark.parametrize(
    "mode", [{}, {"scheduler": "threads", "workers": 2}], ids=["in turn", "threads"]
)
def test_an_experiment_does_not_write_through_a_link_in_place_of_its_folder(mode, scene, tmp_path):
    folder = tmp_path / "writing"
    ids = list(writing(folder, tmp_path / "calls").results.configs_to_df().id)
    shutil.rmtree(folder / "artifacts")
    for part in folder.glob("experiments/*"):
        part.unlink()
    (folder / "artifacts").mkdir()
    (folder / "artifacts" / ids[0]).symlink_to(scene.outside)
    resumed = writing(folder, tmp_path / "calls", resume=True, **mode)
    assert contents(scene.outside) == {"secret.txt": b"secret"}
    (failure,) = resumed.results.failures.to_dict("records")
    assert failure["id"] == ids[0]
    assert "is a link" in str(failure["exception"])
    assert list(resumed.results.artifacts_to_df().id) == [ids[1]]
    assert noted(tmp_path / "calls") == ["1", "2", "2"]


def test_what_experiments_print_is_not_written_through_a_link(scene, tmp_path):
    folder = tmp_path / "printing"
    printing = Research(str(folder), Option("x", [1])).print("printed")
    (name,) = printing.run(seed=1, bar=False, redirect_stdout=2).results.configs_to_df().id
    path = folder / "artifacts" / name / "stdout.txt"
    path.unlink()
    path.symlink_to(scene.outside / "secret.txt")
    for part in folder.glob("experiments/*"):
        part.unlink()
    printing.run(bar=False, redirect_stdout=2, resume=True)
    assert (scene.outside / "secret.txt").read_text() == "secret"
    assert (path.read_text(), path.is_symlink()) == ("printed\n", False)


def test_facts_are_not_written_through_a_link(scene):
    run = research(scene.folder).run(bar=False, resume=True)
    (scene.folder / "env").symlink_to(scene.outside)
    with pytest.raises(StorageError, match=saying("env", "link", "leads out")):
        run.attach_env_meta()
    assert contents(scene.outside) == {"secret.txt": b"secret"}


def test_a_link_that_stays_inside_is_followed(scene):
    part = scene.part("results")
    part.rename(scene.folder / "elsewhere")
    part.symlink_to(scene.folder / "elsewhere")
    assert list(ResearchResults(str(scene.folder)).df.value) == [1, 2]


# names

NAMES = [
    "../../x", "/etc/passwd", "..", ".", "", " ", "a\0b", "a\\b", "C:\\x", "a/b/c", "~", "$HOME",
    "*?[x]", "é" * 300, "x" * 300, "case", "CASE", "Case", "con", "a\nb", "%2E%2E", "@empty",
    "zarr.json", "a.parquet", "{x}", "b[0]", "__import__('os')", "id_", "_TYPES", "config_status",
    "config_config_status", "status", "_types", "_aliases", "stdout", "n_rows",
]  # fmt: skip


def named(storage, folder, name):
    """Record small and large values by a name, and leave an artifact."""
    storage.update_variable(f"{name}:", len(name))
    storage.update_variable(f"{name}!", np.full(1000, len(name)))
    Path(folder, "artifact.txt").write_text(name, encoding="utf-8")


@pytest.mark.parametrize("place", ["local", "memory"])
def test_names_of_variables_and_texts_of_values_lead_nowhere(place, tmp_path):
    folder = tmp_path / "deep" / "er" / "results"
    url = str(folder) if place == "local" else f"memory://{tmp_path}/results"
    described = Research(url, Option("p", [Alias(name, name) for name in NAMES])).add_callable(
        "name", named, args=[S(), EP(), EC("p")]
    )
    described.run(bar=False, seed=1, redirect_stdout=2)
    results = ResearchResults(url)
    assert list(results.configs_to_df().p) == NAMES
    assert list(results.configs_to_df(use_alias=True).p) == NAMES
    frame = results.df
    for name, row in zip(NAMES, frame.to_dict("records"), strict=True):
        assert row[f"{name}:"] == len(name)
        assert row[f"{name}!"].tolist() == [len(name)] * 1000
    assert len(results.artifacts_to_df()) == len(NAMES)
    if place == "local":
        assert [path.name for path in tmp_path.iterdir()] == ["deep"]
        assert [path.name for path in folder.parent.iterdir()] == ["results"]
        assert {path.name for path in folder.iterdir()} == {
            "research.json", "research.log", "plan.pkl", ".lock", "experiments", "results",
            "arrays.zarr", "artifacts",
        }  # fmt: skip
        assert all(len(path.name) <= 200 for path in folder.rglob("*"))


def test_names_of_parameters_lead_nowhere(tmp_path):
    folder = tmp_path / "deep" / "results"
    described = Research(str(folder), Domain({name: [i] for i, name in enumerate(NAMES)}))
    described.add_callable("all", lambda config: config, args=[EC()], save_to="seen").run(
        bar=False, seed=1
    )
    results = ResearchResults(str(folder))
    assert rows(results.df, *NAMES) == [tuple(range(len(NAMES)))]
    assert results.df.seen[0] == {name: i for i, name in enumerate(NAMES)}
    assert len(results.to_df(config={"../../x": 0, "status": NAMES.index("status")})) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]
    assert [path.name for path in folder.parent.iterdir()] == ["results"]


def test_prefixes_of_ids_lead_nowhere(tmp_path):
    folder = tmp_path / "results"
    described = Research(str(folder), Option("../../x", [Alias(1, "../../y"), Alias(2, "/z")]))
    described = described.add_callable("write", lambda path: Path(path, "a").touch(), args=[EP()])
    described.run(bar=False, create_id_prefix=True)
    ids = list(described.results.configs_to_df().id)
    assert sorted(path.name for path in (folder / "artifacts").iterdir()) == sorted(ids)
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


@pytest.mark.parametrize("name", ["\ud800", "a\udfffb"], ids=ascii)
def test_names_that_no_file_holds_are_refused_before_anything_is_written(name, tmp_path):
    folder = str(tmp_path / "results")
    for described in (
        Research(folder, Option(name, [1])).save(1, "v"),
        Research(folder, Option("p", [1])).save(1, name),
    ):
        with pytest.raises(ValueError, match="no valid text"):
            described.run(bar=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["", "a\0b", "file://", "nope://x", "s3://a*b/c"], ids=ascii)
def test_names_of_a_research_that_are_no_place_are_refused(name):
    for look in (
        ResearchResults,
        Research.load,
        lambda place: Research(place).save(1, "v").run(bar=False),
    ):
        with pytest.raises(
            StorageError, match=r"no place for a results folder|nothing to open|wildcards"
        ):
            look(name)


# removal


def test_removing_a_hostile_folder_leaves_what_its_links_lead_to(scene):
    for entry in ("artifacts", "env"):
        (scene.folder / entry).symlink_to(scene.outside)
    shutil.rmtree(scene.folder / "results")
    (scene.folder / "results").symlink_to(scene.outside)
    Research.remove(str(scene.folder), ask=False)
    assert contents(scene.outside) == {"secret.txt": b"secret"}
    assert not scene.folder.exists()


def test_a_folder_that_only_looks_like_a_research_loses_nothing_of_others(scene, tmp_path):
    home = tmp_path / "home"
    (home / "precious").mkdir(parents=True)
    (home / "precious" / "file").write_text("precious")
    shutil.copy(scene.folder / "research.json", home)
    with pytest.raises(StorageError, match=saying("stays", "'precious'")):
        Research.remove(str(home), ask=False)
    assert contents(home) == {"precious/file": b"precious"}


def test_a_description_alone_makes_no_research_of_a_folder(tmp_path):
    (tmp_path / "research.json").write_text(json.dumps({"format": 1}))
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mine.csv").write_text("a")
    with pytest.raises(StorageError, match=saying("research.json", "'name'")):
        Research.remove(str(tmp_path), ask=False)
    assert (tmp_path / "results" / "mine.csv").exists()
