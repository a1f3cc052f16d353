"""The command `moa serve`: its options."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    DatabaseOption,
    HostOption,
    MaxConnectionsOption,
    MaxRunsOption,
    PortOption,
)
from moa_graph.cli.registration import ASK_PANEL

PANEL = ASK_PANEL
EXAMPLES = ("moa serve", "moa serve --preset together --config mine.toml --port 9000")


def serve(  # long by its options and its help text, not by what it does
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            help="A mixture to serve, by name. Repeatable.",
            autocompletion=completion.complete_presets,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", help="A mixture of your own to serve. Repeatable."),
    ] = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            help="Let in only who shows this key, not a token that is made at each start. "
            "Repeatable. Prefer the variable MOA_API_KEY, or a file: options are seen in `ps`.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            help="A TOML file of names and keys, such as: ada = 'a long text'. The log names whose "
            "key a request showed.",
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth", help="Let in everybody who reaches it: all users of this machine, too."
        ),
    ] = False,
    db: DatabaseOption = None,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Megabytes that a request may have.")
    ] = 10,
    max_messages: Annotated[
        int, typer.Option("--max-messages", min=1, help="Messages that a request may have.")
    ] = 1000,
    max_runs: MaxRunsOption = 32,
    max_connections: MaxConnectionsOption = 512,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Refuse parameters of a request that have no effect; by default they are ignored, "
            "and named in the log and in a header.",
        ),
    ] = False,
    usage: Annotated[
        Literal["run", "aggregator"],
        typer.Option(
            "--usage",
            help="Whose tokens the field `usage` of an answer is: the whole run's, or its "
            "aggregator's. The other is in the field `moa`.",
        ),
    ] = "run",
) -> None:
    """Serve mixtures to any client of OpenAI's API: each is a model, by its name.

    Without --preset or --config: the presets whose keys are set, and `offline`.

    At http://127.0.0.1:8000 is a page to ask and to watch.

    A client takes http://127.0.0.1:8000/v1 as its base URL, and as its key the
    one that is set here, or else the token in the page's address, which is
    printed. Ctrl-C stops the server, and the runs with it.
    """
    from moa_graph.cli.choice import load_mixtures

    mixtures = load_mixtures(preset or [], config or [])
    from moa_graph.cli.actions.serve import ServeOptions, serve_mixtures

    keys = (api_key or [], api_key_file)
    limits = {"body": max_body * 1_000_000, "messages": max_messages, "runs": max_runs}
    api = {"strict": strict, "usage": usage}
    options = ServeOptions(host, port, *keys, no_auth, db, limits, max_connections, api)
    serve_mixtures(mixtures, options)
