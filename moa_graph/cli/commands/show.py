"""The command `moa show`: its options."""

from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import DatabaseOption, JsonOption, ThreadArgument
from moa_graph.cli.registration import RUNS_PANEL

PANEL = RUNS_PANEL
EXAMPLES = ("moa show sky", "moa show sky layer_2_qwen", "moa show sky --json | jq .cost")


def show(
    thread: ThreadArgument = None,
    proposal: Annotated[
        str | None,
        typer.Argument(
            help="Compare this proposal with the answer.",
            autocompletion=completion.complete_proposals,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print all proposals.")] = False,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a run: answers, failures, seconds, tokens and cost of each agent, and the answer.

    Costs are estimates from list prices or the `prices` of your configuration. Costs that cannot
    be estimated are shown as `?`.
    """
    from moa_graph.cli.actions.show import show_thread

    show_thread(thread, proposal, db, full=full, as_json=as_json)
