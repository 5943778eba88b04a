"""The options of a run: written in a signature, a docstring and a class that have to agree."""

from __future__ import annotations

import inspect
import re
from dataclasses import fields

from daskresearch import Research
from daskresearch.run.options import UNSET, RunOptions


def test_the_signature_of_run_has_all_options_in_their_order():
    _, *parameters = inspect.signature(Research.run).parameters.values()
    options = {field.name: field.type for field in fields(RunOptions)}
    given = {parameter.name: parameter.annotation for parameter in parameters}
    assert list(given) == list(options)
    assert given.pop("name") == "str | os.PathLike[str] | None"  # a path is kept as a str
    assert given == {name: kind for name, kind in options.items() if name != "name"}
    assert all(parameter.default is UNSET for parameter in parameters)


def test_the_docstring_of_run_tells_of_each_option_once():
    doc = inspect.getdoc(Research.run) or ""
    text = doc.partition("Parameters\n")[2].partition("Raises\n")[0]
    names = re.findall(r"^([\w, ]+) : ", text, re.MULTILINE)
    told = [name for line in names for name in line.split(", ")]
    assert sorted(told) == sorted(field.name for field in fields(RunOptions))
