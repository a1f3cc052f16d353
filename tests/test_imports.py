"""Modules import each other in one direction."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path, known):
    """What a module imports of the package, also within functions and for types alone."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def test_no_two_modules_import_each_other():
    paths = {module_name(path): path for path in (ROOT / "moa_graph").rglob("*.py")}
    graph = {
        name: {each for each in imported_modules(path, paths) if each in paths} - {name}
        for name, path in paths.items()
    }
    list(TopologicalSorter(graph).static_order())  # raises CycleError, which names them
