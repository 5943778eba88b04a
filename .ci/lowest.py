"""Print the lowest versions that pyproject.toml promises, as constraints for pip."""

import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


def lowest_versions(project: dict) -> list[str]:
    """Return `name==version` for each dependency of the project with a lower bound."""
    requirements = [*project["dependencies"]]
    for extra in project["optional-dependencies"].values():
        requirements += extra
    pairs = [requirement.partition(">=") for requirement in requirements if ">=" in requirement]
    # A constraint has no extras: `moto[server]>=5` becomes `moto==5`.
    return sorted({f"{name.partition('[')[0]}=={rest.split(',')[0]}" for name, _, rest in pairs})


if __name__ == "__main__":
    print("\n".join(lowest_versions(tomllib.loads(PYPROJECT.read_text())["project"])))  # noqa: T201
