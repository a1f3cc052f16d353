"""The commands of `moa eval` and their options, one file a command, listed below."""

from typing import Any

import typer

from moa_graph.cli.deprecated import CommandGroup
from moa_graph.cli.errors import requires_extra
from moa_graph.cli.registration import add_commands

COMMANDS = ("generate", "judge", "score", "estimate", "run", "report")


class _EvalCommandGroup(CommandGroup):
    """The commands, each of which may lack a package of the extra."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with requires_extra("eval"):
            return super().invoke(ctx)


app = typer.Typer(
    cls=_EvalCommandGroup,
    help="Measure a mixture: AlpacaEval, MT-Bench, FLASK, or prompts of your own.",
    no_args_is_help=True,
)
add_commands(app, __name__, COMMANDS)
