"""Thousands of experiments from one description, on Dask."""

from daskresearch.domain import Alias, Domain, NumpySampler, Option
from daskresearch.execute.local_cluster import local_cluster
from daskresearch.execute.private_cluster import shutdown
from daskresearch.plan import EC, EP, E, O, R, S
from daskresearch.plan.vocabulary import Experiment
from daskresearch.research.research import Research
from daskresearch.results import ResearchResults
from daskresearch.watch.observer import Observer

__version__ = "0.1.0"

__all__ = [
    "EC",
    "EP",
    "Alias",
    "Domain",
    "E",
    "Experiment",
    "NumpySampler",
    "O",
    "Observer",
    "Option",
    "R",
    "Research",
    "ResearchResults",
    "S",
    "local_cluster",
    "shutdown",
]
