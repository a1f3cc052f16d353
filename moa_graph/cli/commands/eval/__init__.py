"""The commands of `moa eval`: one file for each command with its options."""

from typing import Any

import typer

from moa_graph.cli.deprecated import CommandGroup
from moa_graph.cli.errors import requires_extra
from moa_graph.cli.registration import add_commands

COMMANDS = ("generate", "judge", "score", "estimate", "run", "report", "curve", "recommend")


class _EvalCommandGroup(CommandGroup):
    """The commands; they report a missing package of the extra `eval`."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with requires_extra("eval"):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_EvalCommandGroup,
    help="Evaluate mixtures on AlpacaEval, MT-Bench, FLASK, exact answers or your own prompts.",
    no_args_is_help=True,
    rich_markup_mode=None,  # as for `moa`
)
add_commands(app, __name__, COMMANDS)
