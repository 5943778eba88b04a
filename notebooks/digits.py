"""Find the small classifier that reads digits best, and how sure we can be of it.

Trains linear classifiers and neural networks with several settings on scikit-learn's digits, each
on three random splits. Prints the best configs with mean and spread over the splits, and draws how
they learn.

Usage: python digits.py [--workers 2] [--picture digits.png]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.linear_model import SGDClassifier
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from daskresearch import EC, E, O, Option, Research

N_EPOCHS = 30
N_REPS = 3

# Sums of products: each family of models has parameters of its own.
LINEAR = (
    Option("model", [SGDClassifier])
    * Option("loss", ["hinge", "log_loss"])
    * Option("alpha", [1e-4, 1e-2])
)
NEURAL = (
    Option("model", [MLPClassifier])
    * Option("hidden_layer_sizes", [8, 32, 128])
    * Option("learning_rate_init", [1e-3, 1e-2])
)
DOMAIN = LINEAR + NEURAL

Split = dict[str, tuple[np.ndarray, np.ndarray]]


def load(random: np.random.Generator) -> Split:
    """Return images, (n, 64) in [0, 1], and labels: for training, validation and test."""
    images, labels = load_digits(return_X_y=True)
    order = random.permutation(len(labels))
    half, rest = len(order) // 2, len(order) * 3 // 4
    parts = {"train": order[:half], "validation": order[half:rest], "test": order[rest:]}
    return {name: (images[part] / 16, labels[part]) for name, part in parts.items()}


def train(
    model: type, split: Split, random: np.random.Generator, **parameters: Any
) -> Iterator[Any]:
    """Yield the classifier after each epoch."""
    # scikit-learn asks for the older face of numpy's generators; it draws from the same stream.
    classifier = model(random_state=np.random.RandomState(random.bit_generator), **parameters)
    images, labels = split["train"]
    while True:
        yield classifier.partial_fit(images, labels, classes=range(10))


def accuracy(classifier: Any, split: Split, part: str) -> float:
    """Return the share of a part's images that the classifier reads right."""
    return float(classifier.score(*split[part]))


def describe_research() -> Research:
    """Return what is to be done, with nothing run yet."""
    return (
        Research("digits", domain=DOMAIN, n_reps=N_REPS)
        # a root runs once for all configs of a repetition, so they are compared on the same split
        .add_callable(load, random=E().random, root=True, when="#0")
        .add_generator(train, split=O("load"), random=E().random, kwargs=EC())
        .add_callable(
            "validate", accuracy, args=[O("train"), O("load"), "validation"], save_to="validation"
        )
        .add_callable(
            "test", accuracy, args=[O("train"), O("load"), "test"], save_to="test", when="last"
        )
    )


def best_configs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return mean and spread over repetitions of accuracies after the last epoch.

    The best validation comes first.
    """
    last = rows[rows["iteration"] == N_EPOCHS - 1]
    table = last.groupby(list(DOMAIN.names), dropna=False).agg(
        validation=("validation", "mean"),
        validation_std=("validation", "std"),
        test=("test", "mean"),
        test_std=("test", "std"),
    )
    return table.sort_values("validation", ascending=False).reset_index()


def draw(rows: pd.DataFrame, path: Path) -> None:
    """Draw learning curves: mean over repetitions, in a band from worst to best."""
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    ticks = [0.02, 0.05, 0.1, 0.2, 0.5, 1]
    for axes, (model, family) in zip(panels, rows.groupby("model", sort=False), strict=True):
        own = [name for name in DOMAIN.names if name != "model" and family[name].notna().all()]
        for values, config in family.groupby(own, sort=False):
            label = ", ".join(f"{name} {value}" for name, value in zip(own, values, strict=True))
            curve = 1 - config.groupby("iteration")["validation"].agg(["mean", "min", "max"])
            epochs = curve.index + 1
            (line,) = axes.plot(epochs, curve["mean"], label=label)
            axes.fill_between(
                epochs, curve["min"], curve["max"], color=line.get_color(), alpha=0.2, linewidth=0
            )
        axes.set(title=model, xlabel="epoch", xlim=(1, N_EPOCHS), yscale="log")
        axes.set_yticks(ticks, [f"{tick:.0%}" for tick in ticks])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)
    panels[0].set_ylabel("validation images read wrong")
    figure.suptitle(f"Learning to read digits: mean and range of {N_REPS} repetitions")
    figure.savefig(path, dpi=150)


def main() -> None:
    """Run the research, print the table and draw the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, default=1, help="processes to run on; 1 is this one")
    parser.add_argument(
        "--picture", type=Path, default=Path("digits.png"), help="where to draw the learning curves"
    )
    options = parser.parse_args()

    with threadpool_limits(
        1
    ):  # for matrices as small as these, more threads only wait for each other
        research = describe_research().run(
            n_iters=N_EPOCHS, workers=options.workers, seed=42, dump_results=False
        )

    rows = research.results.to_df(use_alias=True, remove_auxilary=False)
    print(
        f"\nThe best of {len(DOMAIN)} configs, by accuracy after {N_EPOCHS} epochs in {N_REPS} "
        f"repetitions:\n"
    )
    print(
        best_configs(rows).head(5).to_string(index=False, na_rep="", float_format="{:.3f}".format)
    )
    draw(rows, options.picture)
    print(f"\nLearning curves: {options.picture}")


if __name__ == "__main__":
    main()
