"""What the project installs is named where a user looks, and tried by `.ci/versions`."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = {
    name: requirements
    for name, requirements in PROJECT["optional-dependencies"].items()
    if name not in {"dev", "docs", "test"}
}
DIRECT = {
    re.split(r"[\[<>=]", requirement)[0]
    for requirement in sum(EXTRAS.values(), PROJECT["dependencies"])
} - {"moa_graph"}


def normalize(name):
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("package", sorted(DIRECT))
def test_licence_of_a_dependency_is_in_the_docs(package):
    rows = [
        line.rpartition(" | ")[2]
        for line in (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ")
    ]
    named = {normalize(name) for row in rows for name in re.findall(r"[\w.-]+", row)}
    assert normalize(package) in named


def test_each_extra_is_tried_by_itself():
    (tried,) = re.findall(r"for extra in base (.*);", (ROOT / ".ci" / "versions").read_text())
    assert set(tried.split()) == set(EXTRAS)
