"""Thousands of experiments from one description, on Dask."""

from daskresearch.domain import Alias, Domain, NumpySampler, Option
from daskresearch.execute.clusters import shutdown
from daskresearch.execute.local_cluster import local_cluster
from daskresearch.observer import Observer
from daskresearch.plan import EC, EP, E, O, R, S
from daskresearch.research import Research
from daskresearch.results import ResearchResults
from daskresearch.vocabulary import Experiment

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
