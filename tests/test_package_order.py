"""Packages import one way, from the command line down."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
FLOORS = (
    {"connection_failures", "entry_points", "stored_names", "styles", "version"},
    {"status_failures"},
    {
        "background_thread",
        "errors",
        "redaction",
        "sync_async",
        "atomic_files",
        "deprecated",
        "fair_scheduling",
        "validation_errors",
    },
    {"prompting"},
    {"models"},
    {"graph"},
    {"chat_model"},
    {"agents"},
    {"config"},
    {"runs"},
    {"drawing", "markdown", "telemetry"},
    {"run_report"},
    {"batch", "evals", "server"},
    {"cli"},
)


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_module_name(path): path for path in sorted((ROOT / "moa_graph").rglob("*.py"))}


def _imports(name: str) -> Iterator[str]:
    """Name the modules of the package that a module imports, wherever in it."""
    for node in ast.walk(ast.parse(MODULES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES:
            names = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            yield from names or {node.module}


def test_each_package_imports_only_those_below_it():
    floor_of = {package: floor for floor, names in enumerate(FLOORS) for package in names}
    packages = {name.split(".")[1] for name in MODULES if "." in name} - {"__main__"}
    assert packages <= floor_of.keys(), "a new package needs a floor"
    inside = [name for name in MODULES if name.split(".")[-1] not in {"moa_graph", "__main__"}]
    edges = {
        (name.split(".")[1], imported.split(".")[1])
        for name in inside
        for imported in _imports(name)
        if imported != "moa_graph"
    }
    upward = {(a, b) for a, b in edges if a != b and floor_of[a] <= floor_of[b]}
    assert not upward


def test_page_draws_the_packages_in_this_order():
    page = (ROOT / "docs/contributing.md").read_text(encoding="utf-8")
    drawing = re.search(r"^```text\n(cli .*?)^```$", page, re.DOTALL | re.MULTILINE)[1]
    drawn = [set(re.split(r"   ", line)[0].split()) for line in drawing.splitlines()]
    assert drawn == list(reversed(FLOORS[FLOORS.index({"prompting"}) :]))
