"""The mutants of a module, and how one takes the place of the module's own code.

mutmut says what is changed. A mutant needs no new process: the functions of the module that is
loaded get the code and the defaults of those in the mutated source, and all who hold one of them
run the mutant. So decorated functions are mutated too, without their decorators.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from difflib import unified_diff
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import libcst as cst
from mutmut.mutation.file_mutation import Mutation, create_mutations, deep_replace

_RECORD = "_record_call"


@dataclass(frozen=True)
class Mutant:
    """A module with one change."""

    number: int
    """From 1, in the order of the module."""
    function: str
    """The function with the change: `f`, or `Class.f`."""
    module: str
    original: str
    """The source that the change is made in: the module without decorators of functions."""
    source: str
    """That source with the change."""

    def take_effect(self) -> None:
        """Give the function that is loaded the mutant's code."""
        module = import_module(self.module)
        _replace_function(module, _run_source(module, self.source), self.function)

    def diff(self) -> str:
        """Show the change."""
        before, after = self.original.splitlines(), self.source.splitlines()
        return "\n".join([*unified_diff(before, after, n=2, lineterm="")][2:])


class _WithoutDecorators(cst.CSTTransformer):
    """Takes decorators off functions: mutmut leaves decorated ones as they are."""

    def leave_FunctionDef(  # noqa: N802  # libcst's name
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        return updated_node.with_changes(decorators=[])


def find_mutants(module: str) -> list[Mutant]:
    """Give all mutants of the functions of a module."""
    path = Path(import_module(module).__file__ or "")
    plain = cst.parse_module(path.read_text()).visit(_WithoutDecorators()).code
    tree, mutations, _, _ = create_mutations(str(path), plain)
    names = dict(_function_names(tree))
    inside = [each for each in mutations if each.contained_by_top_level_function in names]
    return [
        Mutant(
            number, names[each.contained_by_top_level_function], module, plain, _mutate(tree, each)
        )
        for number, each in enumerate(inside, 1)
    ]


def _mutate(tree: cst.Module, mutation: Mutation) -> str:
    return deep_replace(tree, mutation.original_node, mutation.mutated_node).code


def _function_names(tree: cst.Module) -> Iterator[tuple[cst.CSTNode, str]]:
    for node in tree.body:
        if isinstance(node, cst.FunctionDef):
            yield node, node.name.value
        elif isinstance(node, cst.ClassDef):
            for each in node.body.body:
                if isinstance(each, cst.FunctionDef):
                    yield each, f"{node.name.value}.{each.name.value}"


def record_calls(module_name: str, record: Callable[[tuple[str, str]], object]) -> None:
    """Have each function of a module tell when it is called, by its module and its name."""
    module = import_module(module_name)
    tree = ast.parse(Path(module.__file__ or "").read_text())
    functions = dict(_named_functions(tree))
    for name, node in functions.items():
        node.decorator_list = []
        node.body[:0] = ast.parse(f"{_RECORD}({(module_name, name)!r})").body
    vars(module)[_RECORD] = record
    recording = _run_source(module, ast.unparse(ast.fix_missing_locations(tree)))
    for name in functions:
        _replace_function(module, recording, name)


def _named_functions(tree: ast.Module) -> Iterator[tuple[str, Any]]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for each in node.body:
                if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef)):
                    yield f"{node.name}.{each.name}", each


def _run_source(module: ModuleType, source: str) -> ModuleType:
    """Run the source of a module beside the module that is loaded."""
    beside = ModuleType(module.__name__)
    beside.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    exec(compile(source, module.__file__ or "", "exec"), beside.__dict__)
    return beside


def _replace_function(module: ModuleType, source: ModuleType, name: str) -> None:
    old, new = _read_function(module, name), _read_function(source, name)
    old.__code__, old.__defaults__ = new.__code__, new.__defaults__
    old.__kwdefaults__ = new.__kwdefaults__


def _read_function(module: ModuleType, name: str) -> FunctionType:
    value: Any = module
    for part in name.split("."):
        value = vars(value)[part]
    function = inspect.unwrap(value.fget if isinstance(value, property) else value)
    if not isinstance(function, FunctionType):
        sys.exit(f"{module.__name__}.{name}: no function below its decorators")
    return function
