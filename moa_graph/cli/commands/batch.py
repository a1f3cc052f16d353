"""The command `moa batch`: its options."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from moa_graph.cli.options import (
    ConfigOption,
    EarlyStopOption,
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
    """Check the input file before slow imports; typer itself would reject `-`."""
    if str(path) != "-" and (not path.exists() or path.is_dir()):
        raise typer.BadParameter(f"{path}: no such file")
    return path


def batch(  # long because of options and help text
    prompts: Annotated[
        Path,
        typer.Argument(
            callback=_require_input_file,
            help='JSON Lines: {"prompt": ...} or {"messages": [...]}, with an optional "id"; '
            "- for standard input.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="File of the answers; failures go to OUT.failed.jsonl.",
        ),
    ],
    preset: PresetOption = None,
    config: ConfigOption = None,
    reasoning_effort: ReasoningEffortOption = None,
    early_stop: EarlyStopOption = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", "-n", metavar="N", min=1, help="Process only the first N records."),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            metavar="N",
            min=1,
            help="Parallel records; with --engine ray, in each worker.",
        ),
    ] = 8,
    rpm: Annotated[
        list[str] | None,
        typer.Option(
            "--rpm",
            metavar="LIMIT",
            help="Requests a minute for each endpoint, or NAME=NUMBER for one: a provider, a "
            "base_url or provider:model. Repeatable.",
        ),
    ] = None,
    tpm: Annotated[
        list[str] | None,
        typer.Option(
            "--tpm", metavar="LIMIT", help="Tokens a minute, read and written together; like --rpm."
        ),
    ] = None,
    max_cost: MaxCostOption = None,
    validate_first: Annotated[
        bool, typer.Option("--validate-first", help="Start only if every line is valid.")
    ] = False,
    db: Annotated[
        str | None,
        typer.Option(
            "--db",
            metavar="DATABASE",
            help="Database of unfinished runs: an SQLite file, by default beside OUT, or "
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
            help="Run in this process, or on the Ray cluster of RAY_ADDRESS (or a new one on this "
            "machine), which needs --db postgresql://...",
        ),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="Number of workers of --engine ray; by default the processors of the cluster.",
        ),
    ] = None,
) -> None:
    """Answer a file of prompts, and write the answers in the same order.

    Without --preset or --config, the mixture depends on the key that is set, as with
    `moa ask`.

    Run the same command again to continue after an interruption or a kill. No answer is
    paid for twice. Failed records, and lines added at the end of the input, are answered.

    Exit code: 0 if every record has an answer, 1 if some failed, 3 if the budget
    (--max-cost) left some out.
    """
    from moa_graph.cli.choice import load_mixture

    mixture = load_mixture(preset, config).override(
        reasoning_effort=reasoning_effort, early_stop=early_stop
    )
    with show_startup_notice(show_progress=None):
        from moa_graph.cli.actions.batch import BatchOptions, ThrottleOptions, answer_batch

    pace = ThrottleOptions(concurrency, tuple(rpm or ()), tuple(tpm or ()), max_cost)
    task = BatchOptions(
        prompts, out, mixture, limit, pace, validate_first, db, keep, engine, workers
    )
    answer_batch(task)
