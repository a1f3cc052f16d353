"""Add the commands of `commands/` to `moa` or to a group of it."""

from collections.abc import Callable, Iterable
from importlib import import_module
from inspect import isfunction
from types import ModuleType

import typer

ASK_PANEL, RUNS_PANEL, MIXTURES_PANEL = "Ask", "Stored runs", "Mixtures"
"""The headings of `moa --help`."""


def add_commands(group: typer.Typer, package: str, names: Iterable[str]) -> None:
    """Add commands to a group, in the order of its help.

    The module of a command defines one public function, whose docstring is the help text,
    `EXAMPLES` for the end of the help text, and `PANEL` if the group's help has headings.

    Args:
        group: The group.
        package: Package of the command modules.
        names: Names of the commands and modules.
    """
    for name in names:
        module = import_module(f"{package}.{name}")
        function = _command_function(module)
        group.command(
            name,
            rich_help_panel=getattr(module, "PANEL", None),
            epilog=_format_examples(module.EXAMPLES),
        )(function)


def _command_function(module: ModuleType) -> Callable[..., None]:
    (function,) = (
        each
        for name, each in vars(module).items()
        if isfunction(each) and each.__module__ == module.__name__ and not name.startswith("_")
    )
    return function


def _format_examples(commands: Iterable[str]) -> str | None:
    lines = [f"  {command}" for command in commands]
    return "\n".join(["\b", "Examples:", *lines]) if lines else None  # `\b` keeps the lines
