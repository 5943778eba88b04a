"""What to vary: domains of parameters and the configs they yield."""

from daskresearch.domain.algebra import Domain, Option, branch_entries
from daskresearch.domain.alias import Alias
from daskresearch.domain.config import AUXILIARY, Config, Entry
from daskresearch.domain.identity import identify
from daskresearch.domain.iteration import IterParams, iterate
from daskresearch.domain.nodes import Empty, Node, Product, Sum, Values, Zip, values_of
from daskresearch.domain.samplers import NumpySampler
from daskresearch.domain.streams import draw_seed, entropy_of, stream

__all__ = [
    "AUXILIARY",
    "Alias",
    "Config",
    "Domain",
    "Empty",
    "Entry",
    "IterParams",
    "Node",
    "NumpySampler",
    "Option",
    "Product",
    "Sum",
    "Values",
    "Zip",
    "branch_entries",
    "draw_seed",
    "entropy_of",
    "identify",
    "iterate",
    "stream",
    "values_of",
]
