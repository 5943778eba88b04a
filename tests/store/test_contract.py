"""Every place of results passes the same contract, see `tests.support.contracts`."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest

from daskresearch import EC, Option, Research, shutdown
from daskresearch.errors import StorageError
from tests.support.contracts import CONTRACT, CONTRACT_OF_FOLDERS, Keeper
from tests.support.running import note, saying

contract = pytest.mark.parametrize("holds", CONTRACT, ids=lambda claim: claim.__name__)
contract_of_folders = pytest.mark.parametrize(
    "holds", CONTRACT_OF_FOLDERS, ids=lambda claim: claim.__name__
)


@pytest.fixture
def place(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> Keeper:
    """Return a place of a kind that no other test has."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    name = f"{uuid.uuid4().hex}/results"
    if kind == "s3":
        return Keeper(f"{request.getfixturevalue('s3_url')}/{name}", scratch)
    urls = {
        "nowhere": None,
        "local": str(tmp_path / "results"),
        "file": f"file://{tmp_path}/results",
        "memory": f"memory://{name}",
    }
    return Keeper(urls[kind], scratch)


@pytest.mark.parametrize("kind", ["nowhere"])
@contract
def test_memory_of_this_process(holds, place):
    holds(place)


@pytest.mark.parametrize(
    "kind", ["local", "file", "memory", pytest.param("s3", marks=pytest.mark.slow)]
)
@contract_of_folders
def test_folder_of_this_process(holds, place):
    holds(place)


@pytest.mark.parametrize("kind", ["local"])
@contract_of_folders
def test_folder_of_threads(holds, place):
    holds(replace(place, options={"scheduler": "threads", "workers": 3}))


@pytest.fixture(scope="module")
def workers(s3_url: str) -> Iterator[dict[str, Any]]:
    """Give options of runs on two workers that know where the S3 server is."""
    shutdown()
    yield {"workers": 2}
    shutdown()


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["nowhere"])
@contract
def test_memory_of_the_client_of_two_workers(holds, place, workers):
    holds(replace(place, options=workers))


@pytest.mark.cluster
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["local", "file", "s3"])
@contract_of_folders
def test_folder_of_two_workers(holds, place, workers):
    holds(replace(place, options=workers))


@pytest.mark.cluster
@pytest.mark.slow
def test_a_folder_that_workers_cannot_see_is_refused_before_the_first_experiment(tmp_path):
    def work(x):
        note(tmp_path / "calls", x)
        return x

    url = f"memory://{uuid.uuid4().hex}/results"
    research = Research(domain=Option("x", [1, 2, 3])).work(EC("x"), save_to="seen")
    with pytest.raises(
        StorageError, match=saying("does not see", url, "all workers share", "s3://")
    ):
        research.run(url, workers=2, bar=False)
    assert not (tmp_path / "calls").exists()
    fs, root = fsspec.core.url_to_fs(url)
    assert not fs.exists(root) or fs.find(root) == []
    research.run(url, bar=False)
    assert list(research.results.df.seen) == [1, 2, 3]
