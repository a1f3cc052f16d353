"""The command `moa fork`: its options."""

from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    DatabaseOption,
    JsonOption,
    ProgressOption,
    ShowOption,
    check_thread_argument,
)
from moa_graph.cli.registration import RUNS_PANEL
from moa_graph.cli.startup import show_startup_notice

PANEL = RUNS_PANEL
EXAMPLES = (
    "moa fork sky --from aggregator --aggregator openai:gpt-6.1-terra",
    "moa fork sky --from aggregator --max-tokens 8192",
    "moa fork sky --from layer_2 --drop llama --model qwen=openai:gpt-6.1-sol",
)


def fork(  # long because of options and help text
    *,
    thread: Annotated[
        str | None,
        typer.Argument(
            help="Name of the thread, which stays unchanged; by default the last one.",
            autocompletion=completion.complete_threads,
            callback=check_thread_argument,
        ),
    ] = None,
    from_layer: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="PART",
            help="First part to run again: layer_1, layer_2, ..., aggregator, router, window_1, "
            "votes, vote_NAME or analysis.",
            autocompletion=completion.complete_layers,
        ),
    ],
    aggregator: Annotated[
        str | None,
        typer.Option("--aggregator", metavar="MODEL", help="Another aggregator: provider:model."),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            metavar="NAME=MODEL",
            help="Another proposer model: NAME=provider:model. Repeatable.",
        ),
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option("--max-tokens", min=1, help="Maximum number of tokens of the new answer."),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            metavar="NAME",
            help="A proposal to leave out. Repeatable.",
            autocompletion=completion.complete_proposals,
        ),
    ] = None,
    db: DatabaseOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Answer the last question again from a layer on, as a new thread.

    The new thread keeps the proposals of earlier layers and does not call their models.
    """
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.fork import ForkOptions, fork_thread
        from moa_graph.cli.actions.run import OutputOptions

    changes = ForkOptions(from_layer, aggregator, tuple(model or ()), tuple(drop or ()), max_tokens)
    fork_thread(thread, changes, db, OutputOptions(show, as_json, progress))
