"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from moa_graph.cli import completion
from moa_graph.cli.errors import CommandError
from moa_graph.cli.standard_streams import decode_argument
from moa_graph.models.providers import ReasoningEffort


def check_thread_argument(name: str | None) -> str | None:
    """Return the name of a thread as text.

    Raises:
        CommandError: If it is empty.
    """
    if name is None:
        return None
    if not (decoded := decode_argument(name)).strip():
        raise CommandError(f"expected the name of a thread, got {decoded!r}")
    return decoded


def _check_thread_option(name: str | None) -> str | None:
    """Return the name of a thread; a new name must be easy to type."""
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
        metavar="NAME",
        help="A mixture by name; see `moa presets`.",
        autocompletion=completion.complete_presets,
    ),
]
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", metavar="FILE", help="A mixture of your own, as a TOML file."),
]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="Build a mixture from the models of an OpenAI-compatible server, such as "
        "Ollama: several models, or several samples of one.",
    ),
]
ReasoningEffortOption = Annotated[
    ReasoningEffort | None,
    typer.Option(
        "--reasoning-effort",
        metavar="LEVEL",
        help="Reasoning effort of the reasoning models in the mixture: none, minimal, low, "
        "medium, high, xhigh or max.",
    ),
]
EarlyStopOption = Annotated[
    float | None,
    typer.Option(
        "--early-stop",
        metavar="FIGURE",
        min=0,
        max=1,
        help="Write the answer once the proposals of a layer agree at least this much, such as "
        "0.9; by default all layers run.",
    ),
]
RunCostOption = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="DOLLARS",
        min=0,
        help="Budget of an answer in US dollars: stop before a layer that could exceed it. The "
        "first layer and the aggregator always run.",
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--db",
        metavar="DATABASE",
        envvar="MOA_DB",
        help="Database of runs: an SQLite file, or postgresql://...",
    ),
]
CacheOption = Annotated[
    bool,
    typer.Option(
        "--cache",
        help="Reuse answers: an identical call returns its answer from a cache file beside the "
        "database. New answers are stored there.",
    ),
]
CacheTtlOption = Annotated[
    int | None,
    typer.Option(
        "--cache-ttl",
        metavar="SECONDS",
        min=1,
        help="How long new answers stay valid; by default as in the `cache_policy` of the mixture. "
        "Implies --cache.",
    ),
]
ShowOption = Annotated[bool, typer.Option("--show", help="Print the proposals too.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")]
ProgressOption = Annotated[
    bool | None,
    typer.Option(
        "--progress/--no-progress",
        help="Show the running calls on standard error; by default if it is a terminal. In a pipe, "
        "print a line for each event.",
    ),
]
ThreadOption = Annotated[
    str | None,
    typer.Option(
        "--thread",
        "-t",
        metavar="NAME",
        help="Continue a thread, or name a new one.",
        autocompletion=completion.complete_threads,
        callback=_check_thread_option,
    ),
]
ThreadArgument = Annotated[
    str | None,
    typer.Argument(
        help="Name of the thread; by default the last one.",
        autocompletion=completion.complete_threads,
        callback=check_thread_argument,
    ),
]
MaxCostOption = Annotated[
    float | None,
    typer.Option(
        "--max-cost",
        metavar="DOLLARS",
        min=0,
        help="Budget of this run in US dollars: start no further record or item once it could be "
        "exceeded, estimated by the most expensive one so far.",
    ),
]
HostOption = Annotated[
    str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on; 0.0.0.0 for all.")
]
PortOption = Annotated[
    int, typer.Option("--port", metavar="PORT", min=0, max=65535, help="Port; 0 for any free port.")
]
LogFormatOption = Annotated[
    Literal["text", "json"],
    typer.Option("--log-format", help="Format of the log: text, or JSON objects."),
]
MaxRunsOption = Annotated[
    int, typer.Option("--max-runs", metavar="N", min=1, help="Maximum number of parallel runs.")
]
QueueOption = Annotated[
    int,
    typer.Option(
        "--queue",
        metavar="N",
        min=0,
        help="Maximum number of waiting runs beyond --max-runs; further requests are refused.",
    ),
]
MaxConnectionsOption = Annotated[
    int,
    typer.Option(
        "--max-connections",
        metavar="N",
        min=1,
        help="Maximum number of open connections; beyond it, the longest idle ones are closed.",
    ),
]
