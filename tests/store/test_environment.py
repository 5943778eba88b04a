"""What results depend on besides the plan is told without secrets."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daskresearch.errors import OptionError
from daskresearch.store import environment as metadata
from daskresearch.store.environment import (
    core_versions,
    environment,
    git_state,
    without_credentials,
)


def git(folder: Path, *arguments: str) -> str:
    own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    own |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    own |= {
        f"GIT_{who}_{what}": "ann@example.org"
        for who in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    }
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(
        command, env=own, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    git(tmp_path, "init", "--initial-branch=trunk")
    (tmp_path / "model.py").write_text("rate = 1\n")
    git(tmp_path, "add", "model.py")
    git(tmp_path, "commit", "--message", "Begin")
    return tmp_path


def test_the_environment_goes_through_json_unchanged():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert found["python"]["version"] == platform.python_version()
    assert found["packages"]["numpy"] == importlib.metadata.version("numpy")
    assert list(found["packages"]) == sorted(found["packages"], key=str.lower)
    assert found["n_cpus"] == os.cpu_count()
    assert found["memory_bytes"] is None or found["memory_bytes"] > 1_000_000


def test_the_environment_holds_no_secret_variable_and_no_path(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("DASK_GATEWAY__AUTH__PASSWORD", "secret-of-dask")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret-of-aws")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    found = environment()
    assert found["variables"]["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in found["variables"]
    text = json.dumps(found)
    assert "secret-of" not in text
    assert os.path.dirname(sys.executable) not in text


def test_packages_with_broken_metadata_are_left_out(monkeypatch, tmp_path):
    (tmp_path / "broken-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "broken" not in environment()["packages"]


def test_core_versions_are_those_installed_and_looked_up_once(monkeypatch):
    found = core_versions()
    names = [
        "python",
        "daskresearch",
        "dask",
        "distributed",
        "numpy",
        "pandas",
        "pyarrow",
        "zarr",
        "cloudpickle",
    ]
    assert list(found) == names
    assert found["dask"] == importlib.metadata.version("dask")
    found.clear()
    monkeypatch.delattr(importlib.metadata, "version")
    assert list(core_versions()) == names


ALONE = """
import sys, types
package = types.ModuleType("daskresearch")  # without what the package itself imports
package.__path__ = [sys.argv[1]]
sys.modules["daskresearch"] = package
from daskresearch.store.environment import core_versions, environment
core_versions(), environment()
print(sorted({"dask", "numpy", "pandas", "zarr"} & set(sys.modules)))
"""


def test_core_versions_do_not_import_the_packages():
    command = [sys.executable, "-c", ALONE, str(Path(metadata.__file__).parents[1])]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


def test_a_package_that_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(metadata, "_CORE", ("numpy", "no-package-of-this-name"))
    found = dict(metadata._core_versions.__wrapped__())
    assert found == {
        "python": platform.python_version(),
        "numpy": importlib.metadata.version("numpy"),
    }


def test_a_dirty_repository_is_told_with_its_changes(repository):
    (repository / "model.py").write_text("rate = 2\n")
    (repository / "naïve.txt").write_text("untracked\n")
    git(repository, "remote", "add", "origin", "https://ann:token123@example.org/ann/work.git")
    commit = git(repository, "rev-parse", "HEAD")
    found = git_state(str(repository))
    assert json.loads(json.dumps(found)) == found
    assert "token123" not in json.dumps(found)
    assert (found["commit"], found["branch"]) == (commit, "trunk")
    assert found["describe"] == f"{git(repository, 'rev-parse', '--short', 'HEAD')}-dirty"
    assert found["remote"] == "https://example.org/ann/work.git"
    assert found["status"] == [" M model.py", "?? naïve.txt"]
    assert found["diff"].endswith("-rate = 1\n+rate = 2\n")
    assert [line.startswith(commit) and line.endswith("Begin") for line in found["log"]] == [True]


def test_a_folder_within_a_repository_tells_of_all_of_it(repository):
    (repository / "model.py").write_text("rate = 2\n")
    (repository / "deep").mkdir()
    assert git_state(str(repository / "deep")) == git_state(str(repository))


def test_the_last_ten_commits_are_told(repository):
    for number in range(12):
        git(repository, "commit", "--allow-empty", "--message", f"Step {number}")
    told = [line.split(" ", 2)[2] for line in git_state(str(repository))["log"]]
    assert told == [f"Step {number}" for number in range(11, 1, -1)]


def test_a_long_diff_is_cut(repository):
    (repository / "model.py").write_text("rate = 2\n" * 200_000)
    diff = git_state(str(repository))["diff"]
    assert diff.startswith("diff --git")
    assert 1_000_000 < len(diff) < 1_000_100
    assert re.fullmatch(r"\.\.\. \d+ bytes left out \.\.\.", diff.splitlines()[-1])


def test_a_detached_repository_has_no_branch_and_a_remote_of_another_name_is_found(repository):
    git(repository, "checkout", "--detach")
    git(repository, "remote", "add", "upstream", "git@example.org:ann/work.git")
    found = git_state(str(repository))
    assert (found["branch"], found["remote"]) == (None, "git@example.org:ann/work.git")


def test_a_repository_without_commits_has_nothing_to_tell(tmp_path):
    git(tmp_path, "init", "--initial-branch=trunk")
    expected: dict[str, Any] = {
        "commit": None,
        "branch": "trunk",
        "describe": None,
        "remote": None,
        "status": [],
        "diff": "",
        "log": [],
    }
    assert git_state(str(tmp_path)) == expected


def test_variables_of_git_do_not_lead_to_another_repository(
    repository, tmp_path_factory, monkeypatch
):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "--initial-branch=other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert git_state(str(repository))["branch"] == "trunk"


def test_a_command_of_the_repository_is_not_run(repository):
    (repository / ".gitattributes").write_text("*.py diff=evil\n")
    ran = repository.parent / f"{repository.name}-ran"
    for name in ("diff.evil.command", "diff.evil.textconv", "diff.external", "core.fsmonitor"):
        git(repository, "config", name, f"touch {ran};")
    (repository / "model.py").write_text("rate = 2\n")
    assert "+rate = 2" in git_state(str(repository))["diff"]
    assert not ran.exists()


def test_a_folder_without_a_repository_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"is in no git repository \(fatal: not a git repository"):
        git_state(str(tmp_path))


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(OptionError, match=r"is in no git repository \(fatal: cannot change to"):
        git_state(str(tmp_path / "nowhere"))


def test_a_machine_without_git_is_told(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="git is not installed"):
        git_state(".")


def test_a_git_that_hangs_is_given_up(monkeypatch, tmp_path):
    program = tmp_path / "git"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(metadata, "_TIMEOUT_S", 0.2)
    with pytest.raises(OptionError, match=r"git rev-parse gave no answer in 0\.2 s"):
        git_state(".")


@pytest.mark.parametrize(
    ("url", "stripped"),
    [
        ("https://token@example.org/a.git", "https://example.org/a.git"),
        ("https://ann:pass@word@example.org:8443/a.git", "https://example.org:8443/a.git"),
        ("https://example.org/a@b.git", "https://example.org/a@b.git"),
        ("https://example.org/a.git?private_token=x#y", "https://example.org/a.git"),
        ("https://ann:x@example.org", "https://example.org"),
        ("ann:secret@example.org:a.git", "example.org:a.git"),
        ("git@example.org:a.git", "git@example.org:a.git"),
        ("/srv/git/a.git", "/srv/git/a.git"),
    ],
)
def test_credentials_are_stripped_and_the_rest_is_kept(url, stripped):
    assert without_credentials(url) == stripped
