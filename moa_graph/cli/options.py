"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.errors import CommandError
from moa_graph.cli.standard_streams import decode_argument
from moa_graph.models.providers import ReasoningEffort


def check_thread_argument(name: str | None) -> str | None:
    """Give the name of a thread as text.

    Raises:
        CommandError: If it is empty.
    """
    if name is None:
        return None
    if not (decoded := decode_argument(name)).strip():
        raise CommandError(f"expected the name of a thread, got {decoded!r}")
    return decoded


def _check_thread_option(name: str | None) -> str | None:
    """Give the name of a thread that may be new: a word that can be typed again."""
    decoded = check_thread_argument(name)
    if decoded and (decoded != decoded.strip() or not decoded.isprintable()):
        raise CommandError(
            f"--thread {decoded!r}: expected a name of printable characters without blanks at its "
            "ends"
        )
    return decoded


PresetOption = Annotated[
    str | None,
    typer.Option(
        "--preset",
        "-p",
        help="A mixture by name; see `moa presets`.",
        autocompletion=completion.complete_presets,
    ),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="A mixture of your own, as a TOML file.")
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="A mixture of what an OpenAI-compatible server serves, such as "
        "http://localhost:8080/v1: several models, or several answers of one.",
    ),
]
ReasoningEffortOption = Annotated[
    ReasoningEffort | None,
    typer.Option(
        "--reasoning-effort",
        help="How long the models of the mixture think, if they are reasoning models.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db", envvar="MOA_DB", help="Where runs are kept: an SQLite file, or postgresql://..."
    ),
]
CacheOption = Annotated[
    bool,
    typer.Option(
        "--cache",
        help="Take the answer of a model that was asked the same before from a file beside the "
        "runs, and keep those of others there.",
    ),
]
CacheTtlOption = Annotated[
    int | None,
    typer.Option(
        "--cache-ttl",
        metavar="SECONDS",
        min=1,
        help="How long an answer counts that is kept from now on, by default as `cache_policy` of "
        "the mixture says; implies --cache.",
    ),
]
ShowOption = Annotated[bool, typer.Option("--show", help="Print the proposals too.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")]
ProgressOption = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show the run on standard error while it goes on; by default on a terminal. "
        "Elsewhere it is a line for each event.",
    ),
]
ThreadOption = Annotated[
    str | None,
    typer.Option(
        "--thread",
        "-t",
        help="Go on with a thread, or name a new one.",
        autocompletion=completion.complete_threads,
        callback=_check_thread_option,
    ),
]
ThreadArgument = Annotated[
    str | None,
    typer.Argument(
        help="Which thread; by default the last one.",
        autocompletion=completion.complete_threads,
        callback=check_thread_argument,
    ),
]
MaxCostOption = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        min=0,
        help="Budget of this run in US dollars: nothing more starts that could exceed it, if it "
        "costs as much as the most expensive so far.",
    ),
]
HostOption = Annotated[str, typer.Option("--host", help="Where to listen; 0.0.0.0 is everywhere.")]
PortOption = Annotated[
    int, typer.Option("--port", min=0, max=65535, help="Which port; 0 is any that is free.")
]
MaxRunsOption = Annotated[int, typer.Option("--max-runs", min=1, help="Runs at the same time.")]
MaxConnectionsOption = Annotated[
    int,
    typer.Option(
        "--max-connections",
        min=1,
        help="Connections at the same time; beyond them, those that wait longest are closed.",
    ),
]
