from collections import Counter

from daskresearch.store.columns.cell_types import CELL_TYPES, fitted
from tests.store.columns.test_values import Point


def test_each_cell_type_has_a_name_of_its_own():
    names = Counter(cell_type.name for cell_type in CELL_TYPES)
    assert {name: n for name, n in names.items() if n > 1} == {}


def test_a_value_that_no_other_cell_type_takes_is_a_pickle():
    (cell_type, argument), raw = fitted(Point(1), keeps_arrays=False)
    assert (cell_type.name, argument, type(raw)) == ("pickle", "", bytes)
