"""What the site, the package index and a release say agrees with the code."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

import moa_graph

ROOT = Path(__file__).parent.parent
REFERENCE = sorted((ROOT / "docs/api").glob("*.rst"))
TEXTS = {page.stem: page.read_text(encoding="utf-8") for page in REFERENCE}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
DIRECTIVE = re.compile(r"^\.\. (current|auto)(\w+):: ([\w.]+)$", re.MULTILINE)


def documented_names(text):
    """Name what a page documents, each with its module."""
    module = ""
    for prefix, kind, name in DIRECTIVE.findall(text):
        if prefix == "current":
            module = f"{name}."
        elif kind != "module":
            yield name if "." in name else f"{module}{name}"


def test_every_public_name_is_in_the_reference_once():
    documented = [name for text in TEXTS.values() for name in documented_names(text)]
    assert len(documented) == len(set(documented))
    assert {f"moa_graph.{name}" for name in moa_graph.__all__} <= set(documented)


@pytest.mark.parametrize("page", TEXTS)
def test_names_of_the_reference_are_in_the_code(page):
    for name in documented_names(TEXTS[page]):
        module, _, attribute = name.rpartition(".")
        assert hasattr(import_module(module), attribute), name


def test_every_page_of_the_reference_is_in_its_contents():
    listed = re.findall(r"^   ([\w-]+)$", TEXTS["index"], re.MULTILINE)
    assert sorted(listed) == sorted(set(TEXTS) - {"index"})


def test_package_index_gets_no_link_that_leads_nowhere():
    """Its page is made of the README by the substitutions of `pyproject.toml`."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    targets = re.findall(r"\]\(([^)]*)\)", FENCE.sub("", text))
    assert [each for each in targets if not each.startswith(("http", "#"))] == []
    assert "![" not in text
    assert text.startswith("# moa_graph\n\n")


def test_newest_release_of_the_changelog_is_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, _ = re.findall(r"^## \[([\d.]+)\] - (\d{4}-\d\d-\d\d)$", changelog, re.MULTILINE)[0]
    assert moa_graph.__version__ == version


def test_hooks_and_workflow_call_what_ci_calls():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert set(re.findall(r"^  - repo: (.+)$", hooks, re.MULTILINE)) == {"local"}
    ci = (ROOT / ".ci/run").read_text(encoding="utf-8")
    for command in ("ruff format", "ruff check", "mypy"):
        assert f"entry: {command}" in hooks
        assert command in ci
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    for script in re.findall(r"run: (\.ci/[\w-]+)", workflow):
        assert (ROOT / script).exists()
    tested = re.search(r"PYTHONS:-([\d. ]+)\}", (ROOT / ".ci/versions").read_text())[1].split()
    matrix = re.search(r"python: \[(.+)\]", workflow)[1]
    assert re.findall(r"3\.\d+", matrix) == [*tested, "3.14"]
    classifiers = PROJECT["project"]["classifiers"]
    assert [each.rpartition(" ")[2] for each in classifiers if "Python :: 3." in each] == tested
