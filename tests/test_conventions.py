"""What the tests of this project keep from: private names of the package, and waiting for time.

They also say how long they wait for a response: httpx gives up after five seconds.
"""

import ast
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = sorted(TESTS.rglob("*.py"))
HTTP_CALLS = {"get", "post", "request", "stream", "Client", "AsyncClient"}
PUBLIC = {"_replace", "_asdict", "_fields", "_exit"}  # of named tuples, and of `os`


def is_private(name):
    return name.startswith("_") and not name.startswith("__")


def may_sleep(path):
    """Servers and harnesses wait as real ones do; tests wait for events."""
    return not path.stem.startswith("test_") and path.stem != "soak"


def is_impatient(name, options):
    """Whether a call of httpx has its default timeout; within a process it has no effect."""
    return name in HTTP_CALLS and not {"timeout", "transport"} & {each.arg for each in options}


def breaches(tree):
    """Find names like `moa_graph.x._y`, imported or in a text, `x._y`, and waiting for time."""
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), names=names) if module.startswith("moa_graph"):
                parts = [*module.split("."), *(alias.name for alias in names)]
            case ast.Constant(value=str(text)) if text.startswith("moa_graph."):
                parts = text.split(".")
            case ast.Attribute(value=ast.Name("self" | "cls") | ast.Call(func=ast.Name("super"))):
                parts = []
            case ast.Attribute(attr=name) if name not in PUBLIC:
                parts = [name]
            case ast.Call(func=ast.Name("sleep") | ast.Attribute(attr="sleep"), args=[seconds]):
                parts = [] if ast.unparse(seconds) == "0" else ["_sleep"]
            case ast.Call(
                func=ast.Attribute(value=ast.Name("httpx" | "httpx2"), attr=name), keywords=options
            ) if is_impatient(name, options):
                parts = ["_timeout"]
            case _:
                parts = []
        yield from ((node.lineno, part) for part in parts if is_private(part))


def breaches_of(path):
    for line, name in breaches(ast.parse(path.read_text(encoding="utf-8"))):
        if not (name == "_sleep" and may_sleep(path)):
            yield f"{path.relative_to(TESTS)}:{line}: {name}"


def test_no_test_reaches_into_the_package_or_waits_for_time():
    assert [breach for path in FILES for breach in breaches_of(path)] == []


@pytest.mark.parametrize(
    "code",
    [
        "from moa_graph.graph.builder import _secret",
        "from moa_graph._graph import secret",
        "monkeypatch.setattr('moa_graph.graph.builder._secret', 1)",
        "model._secret",
        "build().model._secret(1)",
        "asyncio.sleep(0.1)",
        "sleep(seconds)",
        "httpx.post(url, json={})",
        "httpx2.AsyncClient(base_url=url)",
    ],
)
def test_breaches_are_found(code):
    assert list(breaches(ast.parse(code)))
