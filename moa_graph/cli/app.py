"""The command `moa`: its list of commands and its global options."""

from typing import Annotated

import typer

from moa_graph.cli.commands.eval import app as eval_app
from moa_graph.cli.deprecated import CommandGroup
from moa_graph.cli.registration import MIXTURES_PANEL, add_commands
from moa_graph.version import __version__

COMMANDS = (
    *("ask", "chat", "resume", "fork", "threads", "show", "draw", "report", "presets", "batch"),
    *("serve", "mcp"),
)

app = typer.Typer(
    cls=CommandGroup,
    help="Mixture-of-Agents: several models propose, further layers refine, an aggregator answers.",
    epilog="`moa ask QUESTION --file FILE` needs no key. With OPENAI_API_KEY or TOGETHER_API_KEY "
    "set, it asks real models. `moa presets` lists the mixtures.",
    no_args_is_help=True,
    rich_markup_mode=None,  # help in two columns, which fits 80 characters a line; rich's has six
    context_settings={"help_option_names": ["-h", "--help"]},
)
add_commands(app, "moa_graph.cli.commands", COMMANDS)
app.add_typer(eval_app, name="eval", rich_help_panel=MIXTURES_PANEL)


def _print_version(requested: bool) -> None:  # noqa: FBT001  # typer calls it so
    if requested:
        typer.echo(f"moa_graph {__version__}")
        raise typer.Exit


@app.callback()
def moa(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Read the global options."""
