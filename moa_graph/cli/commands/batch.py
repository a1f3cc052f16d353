"""The command `moa batch`: its options."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from moa_graph.cli.options import (
    ConfigOption,
    MaxCostOption,
    PresetOption,
    ReasoningEffortOption,
)
from moa_graph.cli.registration import ASK_PANEL
from moa_graph.cli.startup import show_startup_notice

PANEL = ASK_PANEL
EXAMPLES = (
    "moa batch prompts.jsonl -o answers.jsonl --preset openai",
    "moa batch prompts.jsonl -o answers.jsonl -c mixture.toml --concurrency 64 --max-cost 20",
)


def _require_input_file(path: Path) -> Path:
    """Refuse what is no file, before anything slow is imported; typer would refuse `-`, too."""
    if str(path) != "-" and (not path.exists() or path.is_dir()):
        raise typer.BadParameter(f"{path}: no such file")
    return path


def batch(  # long by its options and its help text, not by what it does
    prompts: Annotated[
        Path,
        typer.Argument(
            callback=_require_input_file,
            help='JSON Lines: {"prompt": ...} or {"messages": [...]}, perhaps with "id"; '
            "- is standard input.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Where the answers go; failures go to OUT.failed.jsonl."),
    ],
    preset: PresetOption = None,
    config: ConfigOption = None,
    reasoning_effort: ReasoningEffortOption = None,
    limit: Annotated[
        int | None, typer.Option("--limit", "-n", min=1, help="Process only the first N records.")
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            min=1,
            help="Records under way at a time; with --engine ray, in each worker.",
        ),
    ] = 8,
    rpm: Annotated[
        list[str] | None,
        typer.Option(
            "--rpm",
            help="Requests a minute that each endpoint gets; or NAME=NUMBER for one: a provider, a "
            "base_url, or provider:model. Repeatable.",
        ),
    ] = None,
    tpm: Annotated[
        list[str] | None,
        typer.Option("--tpm", help="Tokens a minute, read and written together; set like --rpm."),
    ] = None,
    max_cost: MaxCostOption = None,
    validate_first: Annotated[
        bool, typer.Option("--validate-first", help="Start only if every line is valid.")
    ] = False,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            help="Where unfinished runs are kept: an SQLite file, by default beside OUT, or "
            "postgresql://...",
        ),
    ] = None,
    keep: Annotated[
        bool,
        typer.Option(
            "--keep-threads", help="Keep the threads of answered records, for `moa show`."
        ),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option(
            "--engine",
            help="Where the records are answered: in this process, or on the Ray cluster of "
            "RAY_ADDRESS (else one on this machine); needs --db postgresql://...",
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="Workers of --engine ray; by default as many as the cluster has processors.",
        ),
    ] = None,
) -> None:
    """Answer many prompts: a file of them, into a file of answers in the same order.

    Without --preset or --config the mixture follows from the key that is set, as with
    `moa ask`.

    Interrupt the command or kill it, run it again, and it goes on: no answer is paid for
    twice, and what failed is asked again, as are lines added at the end of the input.

    Exit code: 0 if every record has an answer, 1 if some failed, 3 if the budget
    (--max-cost) left records unasked.
    """
    from moa_graph.cli.choice import load_mixture

    mixture = load_mixture(preset, config).override(reasoning_effort=reasoning_effort)
    with show_startup_notice(show_progress=None):
        from moa_graph.cli.actions.batch import BatchOptions, ThrottleOptions, answer_batch

    pace = ThrottleOptions(concurrency, tuple(rpm or ()), tuple(tpm or ()), max_cost)
    task = BatchOptions(
        prompts, out, mixture, limit, pace, validate_first, db, keep, engine, workers
    )
    answer_batch(task)
