"""The command `moa ask`: its options."""

from typing import Annotated

import typer

from moa_graph.cli.errors import CommandError
from moa_graph.cli.options import (
    BaseUrlOption,
    CacheOption,
    CacheTtlOption,
    ConfigOption,
    DatabaseOption,
    JsonOption,
    PresetOption,
    ProgressOption,
    ReasoningEffortOption,
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
        typer.Argument(help="What to ask; - is standard input. Text that is piped is attached."),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="Attach a text file; - is standard input. Repeatable."),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    base_url: BaseUrlOption = None,
    reasoning_effort: ReasoningEffortOption = None,
    thread: ThreadOption = None,
    db: DatabaseOption = None,
    cache: CacheOption = False,
    cache_ttl: CacheTtlOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Ask a mixture of models.

    Without --preset or --config the mixture follows from the key that is set, TOGETHER_API_KEY
    or OPENAI_API_KEY; without a key it is `offline`, which quotes from the files you attach.
    """
    from moa_graph.cli.choice import build_question, load_mixture, require_api_keys

    question = None if question is None else decode_argument(question)
    content = build_question(question, file or [])
    mixture = None
    if preset or config or base_url or not thread:
        mixture = load_mixture(preset, config, base_url)
        mixture = mixture.override(reasoning_effort=reasoning_effort)
    elif reasoning_effort:
        raise CommandError("--reasoning-effort with --thread: name the --preset or --config, too")
    if mixture:
        require_api_keys(mixture, config)
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.run import OutputOptions, ask_mixture
        from moa_graph.cli.node_cache import NodeCache, open_node_cache

    node_cache = open_node_cache(db, cache_ttl) if cache or cache_ttl else NodeCache()
    ask_mixture(content, mixture, thread, db, OutputOptions(show, as_json, progress), node_cache)
