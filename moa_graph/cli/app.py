"""The commands and their options. What a command does is imported when it runs."""

from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.commands import evals
from moa_graph.cli.commands.batch import batch
from moa_graph.cli.commands.serve import serve
from moa_graph.cli.commands.threads import threads
from moa_graph.cli.options import (
    CacheOption,
    CacheTtlOption,
    ConfigOption,
    DatabaseOption,
    JsonOption,
    PresetOption,
    ProgressOption,
    ShowOption,
    ThreadArgument,
    ThreadOption,
    format_examples,
    unwrap_paragraphs,
)
from moa_graph.cli.startup import show_startup_notice

app = typer.Typer(
    help="Mixture-of-Agents: several models propose, further layers refine, one writes the answer.",
    epilog="To begin with: `moa ask QUESTION --file FILE` needs no key. With OPENAI_API_KEY or "
    "TOGETHER_API_KEY set it asks real models; `moa presets` lists what there is.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
ASK_PANEL, RUNS_PANEL, MIXTURES_PANEL = "Ask", "What was asked before", "Mixtures"
app.add_typer(evals.app, name="eval", rich_help_panel=MIXTURES_PANEL)


def _print_version(requested: bool) -> None:  # noqa: FBT001  # typer calls it so
    if requested:
        typer.echo(f"moa_graph {version('moa_graph')}")
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
    """Take what stands before the command."""


@app.command(
    rich_help_panel=ASK_PANEL,
    epilog=format_examples(
        'moa ask "Why is the sky blue?"',
        'moa ask "What is decided here?" --file minutes.txt --preset openai',
        'git diff | moa ask "Review this change." --file - --show',
        'moa ask "And at night?" --thread sky',
    ),
)
def ask(
    question: Annotated[
        str | None, typer.Argument(help="What to ask; - is standard input.")
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="Attach a text file; - is standard input. Repeatable."),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
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
    from moa_graph.cli.choice import build_question, load_mixture

    content = build_question(question, file or [])
    mixture = load_mixture(preset, config) if preset or config or not thread else None
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.run import OutputOptions, ask_mixture
        from moa_graph.cli.node_cache import NodeCache, open_node_cache

    node_cache = open_node_cache(db, cache_ttl) if cache or cache_ttl else NodeCache()
    ask_mixture(content, mixture, thread, db, OutputOptions(show, as_json, progress), node_cache)


@app.command(
    rich_help_panel=ASK_PANEL,
    epilog=format_examples(
        "moa chat --preset ollama",
        "moa chat --thread sky",
        "moa chat < questions.txt > answers.txt",
    ),
)
def chat(
    preset: PresetOption = None,
    config: ConfigOption = None,
    thread: ThreadOption = None,
    db: DatabaseOption = None,
    progress: ProgressOption = None,
) -> None:
    """Talk with a mixture: every question sees what was said before.

    Commands begin with a slash: /help lists them. Where standard input is no terminal, each
    line is a question, and the answers go to standard output.
    """
    from moa_graph.cli.choice import load_mixture

    mixture = load_mixture(preset, config) if preset or config else None
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.chat import run_chat as talk
        from moa_graph.cli.actions.run import OutputOptions

    talk(mixture, thread, db, OutputOptions(progress=progress))


@app.command(rich_help_panel=RUNS_PANEL, epilog=format_examples("moa resume", "moa resume sky"))
def resume(
    thread: Annotated[
        str | None,
        typer.Argument(
            help="Which thread; by default the last unfinished one.",
            autocompletion=completion.complete_threads,
        ),
    ] = None,
    db: DatabaseOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Continue an interrupted or failed run. No answer that was stored is asked for again."""
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.run import OutputOptions, resume_thread

    resume_thread(thread, db, OutputOptions(show, as_json, progress))


@app.command(
    rich_help_panel=RUNS_PANEL,
    epilog=format_examples(
        "moa fork sky --at aggregator --aggregator openai:gpt-4.1",
        "moa fork sky --at layer_2 --drop llama --model qwen=openai:gpt-4o",
    ),
)
def fork(
    thread: Annotated[
        str,
        typer.Argument(
            help="Which thread; it stays as it is.", autocompletion=completion.complete_threads
        ),
    ],
    at: Annotated[
        str,
        typer.Option(
            "--at",
            help="Where to begin anew: layer_1, layer_2, ... or aggregator.",
            autocompletion=completion.complete_layers,
        ),
    ],
    aggregator: Annotated[
        str | None, typer.Option("--aggregator", help="Another aggregator: provider:model.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Another model for a proposer: NAME=provider:model."),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(
            "--drop",
            help="A proposal to leave out. Repeatable.",
            autocompletion=completion.complete_proposals,
        ),
    ] = None,
    db: DatabaseOption = None,
    show: ShowOption = False,
    as_json: JsonOption = False,
    progress: ProgressOption = None,
) -> None:
    """Answer the last question anew from some layer on, as a new thread.

    The proposals of the layers before are taken over, not asked for again.
    """
    with show_startup_notice(show_progress=progress):
        from moa_graph.cli.actions.fork import ForkOptions, fork_thread
        from moa_graph.cli.actions.run import OutputOptions

    changes = ForkOptions(at, aggregator, tuple(model or ()), tuple(drop or ()))
    fork_thread(thread, changes, db, OutputOptions(show, as_json, progress))


app.command(
    rich_help_panel=RUNS_PANEL,
    epilog=format_examples("moa threads", "moa threads --prune --older-than 30d --keep 100"),
)(threads)


@app.command(
    rich_help_panel=RUNS_PANEL,
    epilog=format_examples(
        "moa show sky", "moa show sky layer_2_qwen", "moa show sky --json | jq .cost"
    ),
)
def show(
    thread: ThreadArgument,
    proposal: Annotated[
        str | None,
        typer.Argument(
            help="A proposal, to be compared with the answer.",
            autocompletion=completion.complete_proposals,
        ),
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Print all proposals.")] = False,
    db: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a run: who answered or failed, seconds, tokens, cost; and the answer.

    Costs are estimates, from list prices or the `prices` of your configuration; what is not
    known is `?`.
    """
    from moa_graph.cli.actions.show import show_thread

    show_thread(thread, proposal, db, full=full, as_json=as_json)


@app.command(
    rich_help_panel=MIXTURES_PANEL,
    epilog=format_examples("moa draw --preset moa --out moa.svg", "moa draw sky --out run.svg"),
)
def draw(
    run: Annotated[
        str | None,
        typer.Argument(
            metavar="thread",
            help="Draw the last run of a thread.",
            autocompletion=completion.complete_threads,
        ),
    ] = None,
    preset: PresetOption = None,
    config: ConfigOption = None,
    thread: Annotated[
        str | None,
        typer.Option(
            "--thread", "-t", help="The same.", autocompletion=completion.complete_threads
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to a file: .svg, .png or .mmd.")
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Draw the graph, a box a layer: as mermaid text, SVG or PNG.

    With a thread each agent shows its seconds, tokens and estimated cost, or how it failed, and
    thick lines lead along what the run waited for.
    """
    from moa_graph.cli.actions.draw import (
        check_draw_options,
        draw_mixture,
        draw_thread,
        resolve_thread,
    )

    thread = resolve_thread(run, thread)
    check_draw_options(preset, config, thread, out)
    if thread:
        draw_thread(thread, db, out)
    else:
        draw_mixture(preset, config, out)


@app.command(rich_help_panel=RUNS_PANEL, epilog=format_examples("moa report sky --out run.html"))
def report(
    thread: ThreadArgument,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; by default standard output."),
    ] = None,
    db: DatabaseOption = None,
) -> None:
    """Write the last run of a thread as an HTML page: one file, which needs no network.

    It has the drawing with the run on it, a timeline, the proposals beside the answer, what each
    layer read, tokens and cost, and which proposals the answer is worded like.
    """
    from moa_graph.cli.actions.report import report_thread

    report_thread(thread, db, out)


@app.command(rich_help_panel=MIXTURES_PANEL)
def presets() -> None:
    """List the presets and what each needs."""
    from moa_graph.cli.choice import list_presets

    list_presets()


app.command(
    rich_help_panel=ASK_PANEL,
    epilog=format_examples(
        "moa batch prompts.jsonl -o answers.jsonl --preset openai",
        "moa batch prompts.jsonl -o answers.jsonl -c mixture.toml --concurrency 64 --max-cost 20",
    ),
)(batch)

app.command(
    rich_help_panel=ASK_PANEL,
    epilog=format_examples(
        "moa serve", "moa serve --preset together --config mine.toml --port 9000"
    ),
)(serve)

for command in app.registered_commands:
    command.help = unwrap_paragraphs(command.callback.__doc__ or "")  # else its line ends are kept
