"""The commands and their options. What a command does is imported when it runs."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="Mixture-of-Agents: several models propose, further layers refine, one writes the answer.",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Preset = Annotated[
    str | None, typer.Option("--preset", "-p", help="A mixture by name; see `moa presets`.")
]
Config = Annotated[
    Path | None, typer.Option("--config", "-c", help="A mixture of your own, as a TOML file.")
]
Database = Annotated[
    str | None,
    typer.Option(
        "--db", envvar="MOA_DB", help="Where runs are kept: an SQLite file, or postgresql://..."
    ),
]
Show = Annotated[bool, typer.Option("--show", help="Print the proposals too.")]
Json = Annotated[bool, typer.Option("--json", help="Print the whole result as JSON.")]


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask.")],
    file: Annotated[
        list[str] | None,
        typer.Option("--file", "-f", help="Attach a text file; - is standard input. Repeatable."),
    ] = None,
    preset: Preset = None,
    config: Config = None,
    thread: Annotated[
        str | None, typer.Option("--thread", "-t", help="Go on with a thread, or name a new one.")
    ] = None,
    db: Database = None,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Ask a mixture of models.

    Without --preset or --config the mixture follows from the key that is set, TOGETHER_API_KEY
    or OPENAI_API_KEY; without a key it is `offline`, which quotes from the files you attach.
    """
    from moa_graph.cli.choice import attach, choose

    content = attach(question, file or [])
    chosen = choose(preset, config) if preset or config or not thread else None
    from moa_graph.cli.run import Output, ask_mixture

    ask_mixture(content, chosen, thread, db, Output(show=show, json=as_json))


@app.command()
def resume(
    thread: Annotated[
        str | None, typer.Argument(help="Which thread; by default the last unfinished one.")
    ] = None,
    db: Database = None,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Continue an interrupted or failed run. No answer that was stored is asked for again."""
    from moa_graph.cli.run import Output, resume_thread

    resume_thread(thread, db, Output(show=show, json=as_json))


@app.command()
def fork(
    thread: Annotated[str, typer.Argument(help="Which thread; it stays as it is.")],
    at: Annotated[
        str, typer.Option("--at", help="Where to begin anew: layer_1, layer_2, ... or aggregator.")
    ],
    aggregator: Annotated[
        str | None, typer.Option("--aggregator", help="Another aggregator: provider:model.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Another model for a proposer: NAME=provider:model."),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option("--drop", help="A proposal to leave out. Repeatable.")
    ] = None,
    db: Database = None,
    show: Show = False,
    as_json: Json = False,
) -> None:
    """Answer the last question anew from some layer on, as a new thread.

    The proposals of the layers before are taken over, not asked for again.
    """
    from moa_graph.cli.fork import Changes, fork_thread
    from moa_graph.cli.run import Output

    changes = Changes(at, aggregator, tuple(model or ()), tuple(drop or ()))
    fork_thread(thread, changes, db, Output(show=show, json=as_json))


@app.command()
def threads(
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="How many of them.")] = 20,
    db: Database = None,
    as_json: Json = False,
) -> None:
    """List the threads, newest first."""
    from moa_graph.cli.threads import list_threads

    list_threads(limit, db, as_json=as_json)


@app.command()
def show(
    thread: Annotated[str, typer.Argument(help="Which thread.")],
    db: Database = None,
    as_json: Json = False,
) -> None:
    """Print a run: layers, proposals, failures, tokens, seconds."""
    from moa_graph.cli.threads import show_thread

    show_thread(thread, db, as_json=as_json)


@app.command()
def draw(
    preset: Preset = None,
    config: Config = None,
    thread: Annotated[
        str | None, typer.Option("--thread", "-t", help="Draw the last run of a thread.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write to a file: .svg, .png or .mmd.")
    ] = None,
    db: Database = None,
) -> None:
    """Draw the graph, a box a layer: as mermaid text, SVG or PNG.

    With --thread each agent shows its seconds, tokens and estimated cost, or how it failed, and
    thick lines lead along what the run waited for.
    """
    from moa_graph.cli.draw import check_output, draw_preset, draw_thread

    check_output(preset, config, thread, out)
    if thread:
        draw_thread(thread, db, out)
    else:
        draw_preset(preset, config, out)


@app.command()
def report(
    thread: Annotated[str, typer.Argument(help="Which thread.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="The file to write; by default standard output."),
    ] = None,
    db: Database = None,
) -> None:
    """Write the last run of a thread as an HTML page: one file, which needs no network.

    It has the drawing with the run on it, a timeline, the proposals beside the answer, what each
    layer read, tokens and cost, and which proposals the answer is worded like.
    """
    from moa_graph.cli.report import report_thread

    report_thread(thread, db, out)


@app.command()
def presets() -> None:
    """List the presets and what each needs."""
    from moa_graph.cli.choice import list_presets

    list_presets()


@app.command()
def serve(
    preset: Annotated[
        list[str] | None,
        typer.Option("--preset", "-p", help="A mixture to serve, by name. Repeatable."),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", help="A mixture of your own to serve. Repeatable."),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="Where to listen; 0.0.0.0 is everywhere.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Which port; 0 is any that is free.")
    ] = 8000,
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="MOA_API_KEY",
            help="Let in only who shows this key. Prefer the variable: options are seen in `ps`.",
        ),
    ] = None,
    db: Database = None,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Megabytes that a request may have.")
    ] = 10,
    max_messages: Annotated[
        int, typer.Option("--max-messages", min=1, help="Messages that a request may have.")
    ] = 1000,
    max_runs: Annotated[int, typer.Option("--max-runs", min=1, help="Runs at the same time.")] = 32,
) -> None:
    """Serve mixtures to any client of OpenAI's API: each is a model, by its name.

    Without --preset or --config: the presets whose keys are set, and `offline`.

    At http://127.0.0.1:8000 is a page to ask and to watch.

    A client takes http://127.0.0.1:8000/v1 as its base URL, and any key unless
    one is set here. Ctrl-C stops the server, and the runs with it.
    """
    from moa_graph.cli.choice import choose_all

    mixtures = choose_all(preset or [], config or [])
    from moa_graph.cli.serve import Options, serve_mixtures

    limits = {"body": max_body * 1_000_000, "messages": max_messages, "runs": max_runs}
    serve_mixtures(mixtures, Options(host, port, api_key, db, limits))
