"""The command `moa mcp`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    HostOption,
    MaxConnectionsOption,
    MaxRunsOption,
    PortOption,
    QueueOption,
)
from moa_graph.cli.registration import ASK_PANEL

PANEL = ASK_PANEL
EXAMPLES = ("moa mcp --preset together", "moa mcp --config mine.toml --http --port 9001")


def mcp(  # long because of options and help text
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME",
            help="A mixture to offer as a tool, by name. Repeatable.",
            autocompletion=completion.complete_presets,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A mixture of your own to offer. Repeatable."
        ),
    ] = None,
    http: Annotated[
        bool,
        typer.Option("--http", help="Listen for HTTP instead of standard input and output."),
    ] = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8001,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="With --http: require this key instead of a token generated at each start. "
            "Repeatable. Prefer the variable MOA_API_KEY: `ps` shows options.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="With --http: a TOML file of keys, as for moa serve.",
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth",
            help="With --http: require no key. All users of this machine have access.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            min=0.001,
            help="Seconds until a run is cancelled.",
            show_default=True,
        ),
    ] = 1800.0,
    max_body: Annotated[
        int,
        typer.Option(
            "--max-body", metavar="MB", min=1, help="Maximum size of an HTTP request, in megabytes."
        ),
    ] = 10,
    max_runs: MaxRunsOption = 32,
    queue: QueueOption = 32,
    max_connections: MaxConnectionsOption = 512,
) -> None:
    """Offer mixtures as tools of the Model Context Protocol, one tool for each.

    A host (an editor, a desktop program, an agent) starts this command and
    talks to it over standard input and output. With --http, it listens at
    http://127.0.0.1:8001/mcp.

    Without --preset or --config, the tool is the mixture that `moa ask` uses.
    The caller of a tool cannot choose models.
    """
    from moa_graph.cli.choice import load_mixture, load_mixtures

    if preset or config:
        mixtures = load_mixtures(preset or [], config or [])
    else:
        mixture = load_mixture()
        mixtures = {mixture.name: mixture}
    from moa_graph.cli.actions.mcp import serve_tools_by_http, serve_tools_by_stdio
    from moa_graph.cli.actions.serve import ServeOptions

    limits = {"body": max_body * 1_000_000, "runs": max_runs, "queue": queue}
    if not http:
        serve_tools_by_stdio(mixtures, limits, timeout)
        return
    keys = (api_key or [], api_key_file)
    options = ServeOptions(host, port, *keys, no_auth, None, limits, max_connections)
    serve_tools_by_http(mixtures, options, timeout)
