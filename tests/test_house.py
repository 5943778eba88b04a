"""The house rules that no other tool checks."""

import ast
from pathlib import Path

import pytest

import daskresearch

PACKAGE = Path(daskresearch.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
RIDDLES = {"one", "known", "came", "more"}


def first_lines(tree: ast.Module):
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield text.partition("\n")[0]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_can_be_held_in_the_head(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    tree = ast.parse(text)
    assert [line for line in first_lines(tree) if len(line) > 80] == []
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert names & RIDDLES == set()
