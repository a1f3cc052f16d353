"""The command `moa ask`: its options."""

from collections.abc import Mapping
from typing import Annotated

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.cli.options import (
    BaseUrlOption,
    CacheOption,
    CacheTtlOption,
    ConfigOption,
    DatabaseOption,
    EarlyStopOption,
    JsonOption,
    PresetOption,
    ProgressOption,
    ReasoningEffortOption,
    RunCostOption,
    ShowOption,
    ThreadOption,
)
from moa_graph.cli.registration import ASK_PANEL
from moa_graph.cli.standard_streams import decode_argument
from moa_graph.cli.startup import show_startup_notice

PANEL = ASK_PANEL
EXAMPLES = (
    'moa ask "Why is the sky blue?"',
    'moa ask "What is decided here?" --file minutes.txt --preset openai',
    'git diff | moa ask "Review this change." --show',
    'moa ask "And at night?" --thread sky',
    'moa ask "Why is the sky blue?" --base-url http://localhost:8080/v1',
)


def ask(
    question: Annotated[
        str | None,
        typer.Argument(help="The question; - for standard input. Piped text is attached to it."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            "--file",
            "-f",
            metavar="FILE",
            help="Attach a text file; - for standard input. Repeatable.",
        ),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    reasoning_effort: ReasoningEffortOption = None,
    early_stop: EarlyStopOption = None,
    max_cost: RunCostOption = None,
    thread: ThreadOption = None,
    db: DatabaseOption = None,
    cache: CacheOption = False,
    cache_ttl: CacheTtlOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Ask a mixture of models.

    Without --preset or --config, the mixture depends on the key that is set: TOGETHER_API_KEY or
    OPENAI_API_KEY. Without a key it is `offline`, which quotes from the files that you attach.
    """
    from moa_graph.cli.choice import build_question, load_mixture, require_api_keys

    question = None if question is None else decode_argument(question)
    content = build_question(question, file or [])
    mixture = None
    if preset or config or base_url or not thread:
        mixture = load_mixture(preset, config, base_url)
        mixture = mixture.override(
            reasoning_effort=reasoning_effort, early_stop=early_stop, max_cost=max_cost
        )
    else:
        _require_mixture_for(
            {
                "--reasoning-effort": reasoning_effort,
                "--early-stop": early_stop,
                "--max-cost": max_cost,
            }
        )
    if mixture:
        require_api_keys(mixture, config)
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.run import OutputOptions, ask_mixture
        from moa_graph.cli.node_cache import NodeCache, open_node_cache

    node_cache = open_node_cache(db, cache_ttl) if cache or cache_ttl else NodeCache()
    ask_mixture(content, mixture, thread, db, OutputOptions(show, as_json, progress), node_cache)


def _require_mixture_for(options: Mapping[str, object]) -> None:
    """Reject options that change a mixture if no mixture is given.

    Raises:
        CommandError: If one is set.
    """
    for option, value in options.items():
        if value is not None:
            raise CommandError(f"{option} with --thread: add --preset or --config")
