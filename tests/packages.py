"""Packages with entry points, put on the path as an installer puts them."""

import tomllib
from pathlib import Path

EXAMPLES = Path(__file__).parents[1] / "examples"


def add_package(monkeypatch, site, group, entry_points):
    """Put the metadata of a package with entry points into a folder, and the folder on the path."""
    info = site / "added_by_test-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: added-by-test\nVersion: 1.0\n")
    lines = "".join(f"{name} = {value}\n" for name, value in entry_points.items())
    (info / "entry_points.txt").write_text(f"[{group}]\n{lines}")
    monkeypatch.syspath_prepend(site)


def install_example(monkeypatch, site, example):
    """Install a package of the examples."""
    project = tomllib.loads((EXAMPLES / example / "pyproject.toml").read_text())
    site.mkdir()
    for package in project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]:
        (site / package).symlink_to(EXAMPLES / example / package)
    [(group, entry_points)] = project["project"]["entry-points"].items()
    add_package(monkeypatch, site, group, entry_points)
