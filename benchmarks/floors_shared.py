"""The least one could do where work is shared.

That is graphs by hand, a load before a fork, and a sweep as loops in loops.

What is computed, such as `score_of`, is the same for ours and for the floors.
"""

from __future__ import annotations

import hashlib
import itertools
import marshal
import os
import pickle
import time
import types
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.floors import halves, small_values

if TYPE_CHECKING:
    from dask.highlevelgraph import HighLevelGraph

RATE = 0.5
SHARED = 7
N_FOLDS = 3
SWEEP: dict[str, list[Any]] = {
    "fold": [*range(N_FOLDS)],
    "n_components": [8, 32],
    "alpha": [1e-5, 1e-4, 1e-3, 1e-2],
    "loss": ["hinge", "log_loss"],
}
"""The parameters of the sweep, those that vary most slowly first."""

_N_WAVE = 2_048  # stays in the fastest cache, whatever runs on the other cores
_N_TABLE = 1_000_000
_N_FEATURES = 400
_N_EPOCHS = 10

Fold = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def advance(x: float, n_steps: int = 3) -> float:
    """Return what a typical unit does: a function with a loop, a default and a global."""
    total = 0.0
    for step in range(n_steps):
        total += x * step + RATE
    return total


def advance_with_helper(x: float, n_steps: int = 3) -> float:
    """Return the same by the help of another function."""
    total = 0.0
    for step in range(n_steps):
        total += _moved(x, step)
    return total


def _moved(x: float, step: int) -> float:
    return x * step + RATE


def digest_by_hand(function: types.FunctionType) -> bytes:
    """Return a digest of a function's code, defaults and global, told what to look at."""
    content = marshal.dumps((function.__code__, function.__defaults__, RATE))
    return hashlib.blake2b(content, digest_size=16).digest()


def digest_of_array(array: np.ndarray) -> bytes:
    """Return a digest of the bytes of an array."""
    return hashlib.sha256(array.data).digest()


def shared() -> int:
    """Return what all experiments of a graph use."""
    return SHARED


def combine(root: int, a: int, b: int) -> int:
    """Return the output of an experiment of a graph."""
    return root * a + b


def graph_by_hand(n_experiments: int) -> HighLevelGraph:
    """Return the graph of `combine` for all configs: one layer, numbers for names."""
    from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
    from dask.task_spec import Task, TaskRef

    root = TaskRef("shared")
    tasks = {"shared": Task("shared", shared)}
    for number, (a, b) in enumerate(product(*small_values(n_experiments))):
        key = f"combine-{number}"
        tasks[key] = Task(key, combine, root, a, b)
    return HighLevelGraph({"combine": MaterializedLayer(tasks)}, {"combine": set()})


def graph_of_delayed(n_experiments: int) -> HighLevelGraph:
    """Return the graph of `combine` for all configs, a call of a Delayed for each."""
    from dask import delayed
    from dask.highlevelgraph import HighLevelGraph

    root = delayed(shared)()
    combine_later = delayed(combine)
    outputs = [combine_later(root, a, b) for a, b in product(*small_values(n_experiments))]
    return HighLevelGraph.merge(*[output.__dask_graph__() for output in outputs])


def distinct_by_hand(n_experiments: int) -> dict[str, int]:
    """Return how often two units run, from a loop over all configs.

    One runs for each `a`, the other for each config.
    """
    roots = set()
    n_configs = 0
    for a, _ in product(*small_values(n_experiments)):
        roots.add(a)
        n_configs += 1
    return {"load": len(roots), "combine": n_configs}


def burn(n_steps: int) -> float:
    """Return the end of a series of so many steps, which is the same anywhere.

    Each step is the same work for one core.
    """
    wave = np.linspace(1, 2, _N_WAVE)
    for _ in range(n_steps):
        np.add(wave, 1, out=wave)
        np.sqrt(wave, out=wave)
    return float(wave.sum())


def steps_a_second() -> float:
    """Return the steps of `burn` that a core makes a second, the best of some tries."""
    n_steps = 1_000
    while _seconds_of_burn(n_steps) < 0.1:
        n_steps *= 2
    return n_steps / min([_seconds_of_burn(n_steps) for _ in range(3)])


def _seconds_of_burn(n_steps: int) -> float:
    start = time.perf_counter()
    burn(n_steps)
    return time.perf_counter() - start


def load_table(path: str, n_steps: int) -> np.ndarray:
    """Return an array of 8 MB after so many steps of work; add a line to a file."""
    with open(path, "a") as notes:
        notes.write("loaded\n")
    return np.full(_N_TABLE, burn(n_steps))


def score_of(table: np.ndarray, branch: int, n_steps: int) -> float:
    """Return what a branch makes of the table after so many steps of work."""
    return float(table[branch]) + burn(n_steps) * branch


def prefix_in_two(path: str, n_load: int, n_score: int, n_branches: int) -> list[float]:
    """Return the scores of all branches: one load, then two forks of this process.

    The forks have the table for nothing.
    """
    table = load_table(path, n_load)
    children = [
        _forked(partial(_scores, table, half, n_score)) for half in halves(range(n_branches))
    ]
    scores: list[float] = []
    for pid, reader in children:
        with os.fdopen(reader, "rb") as pipe:
            scores += pickle.load(pipe)
        os.waitpid(pid, 0)
    return scores


def _scores(table: np.ndarray, branches: range, n_steps: int) -> list[float]:
    return [score_of(table, branch, n_steps) for branch in branches]


def _forked(run: Callable[[], object]) -> tuple[int, int]:
    """Return the number of a fork that runs something, and the pipe of its output."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with os.fdopen(writer, "wb") as pipe:
                pickle.dump(run(), pipe)
            status = 0
        finally:
            os._exit(status)  # the fork must not go on with what its parent was about to do
    os.close(writer)
    return pid, reader


def split(fold: int, n_samples: int) -> Fold:
    """Return samples, (n, 400), and labels of a fold: for training, then for the test."""
    from sklearn.datasets import make_classification

    samples, labels = make_classification(
        n_samples, _N_FEATURES, n_informative=40, n_classes=4, flip_y=0.05, random_state=0
    )
    is_test = np.arange(n_samples) % N_FOLDS == fold
    return samples[~is_test], labels[~is_test], samples[is_test], labels[is_test]


def reduce(parts: Fold, n_components: int) -> Fold:
    """Return a fold in few dimensions: the principal ones of its training samples."""
    from sklearn.decomposition import PCA

    train, train_labels, test, test_labels = parts
    analysis = PCA(n_components, random_state=0).fit(train)
    return analysis.transform(train), train_labels, analysis.transform(test), test_labels


def accuracy(parts: Fold, alpha: float, loss: str) -> float:
    """Return the share of a fold's test samples that a linear classifier gets right."""
    from sklearn.linear_model import SGDClassifier

    train, train_labels, test, test_labels = parts
    classifier = SGDClassifier(alpha=alpha, loss=loss, max_iter=_N_EPOCHS, tol=None, random_state=0)
    return float(classifier.fit(train, train_labels).score(test, test_labels))


def sweep_loop(n_samples: int) -> list[tuple[Any, ...]]:
    """Return the parameters of each config and its accuracy, from loops in loops.

    They split and reduce as early as they can.
    """
    folds, dimensions, *others = SWEEP.values()
    rows = []
    for fold in folds:
        parts = split(fold, n_samples)
        for n_components in dimensions:
            reduced = reduce(parts, n_components)
            for alpha, loss in itertools.product(*others):
                rows.append((fold, n_components, alpha, loss, accuracy(reduced, alpha, loss)))
    return rows
