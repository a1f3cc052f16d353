"""The command `moa mcp`: its options."""

from pathlib import Path
from typing import Annotated

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import HostOption, MaxConnectionsOption, MaxRunsOption, PortOption
from moa_graph.cli.registration import ASK_PANEL

PANEL = ASK_PANEL
EXAMPLES = ("moa mcp --preset together", "moa mcp --config mine.toml --http --port 9001")


def mcp(  # long by its options and its help text, not by what it does
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            help="A mixture to offer as a tool, by name. Repeatable.",
            autocompletion=completion.complete_presets,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", "-c", help="A mixture of your own to offer. Repeatable."),
    ] = None,
    http: Annotated[
        bool,
        typer.Option("--http", help="Listen for HTTP, in place of standard input and output."),
    ] = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8001,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            help="With --http: let in only who shows this key, not a token that is made at each "
            "start. Repeatable. Prefer the variable MOA_API_KEY: options are seen in `ps`.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", help="With --http: as that of moa serve."),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option(
            "--no-auth",
            help="With --http: let in everybody who reaches it: all users of this machine, too.",
        ),
    ] = False,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=0.001, help="Seconds after which a run is given up.", show_default=True
        ),
    ] = 1800.0,
    max_body: Annotated[
        int, typer.Option("--max-body", min=1, help="Megabytes that a request by HTTP may have.")
    ] = 10,
    max_runs: MaxRunsOption = 32,
    max_connections: MaxConnectionsOption = 512,
) -> None:
    """Offer mixtures as tools of the Model Context Protocol: one tool for each.

    A host (an editor, a desktop program, an agent) starts this command, and
    speaks to it by standard input and output. With --http it listens, at
    http://127.0.0.1:8001/mcp.

    Without --preset or --config, the tool is the mixture that `moa ask` takes.
    Who calls a tool chooses no models.
    """
    from moa_graph.cli.choice import load_mixture, load_mixtures

    if preset or config:
        mixtures = load_mixtures(preset or [], config or [])
    else:
        mixture = load_mixture()
        mixtures = {mixture.name: mixture}
    from moa_graph.cli.actions.mcp import serve_tools_by_http, serve_tools_by_stdio
    from moa_graph.cli.actions.serve import ServeOptions

    limits = {"body": max_body * 1_000_000, "runs": max_runs}
    if not http:
        serve_tools_by_stdio(mixtures, limits, timeout)
        return
    keys = (api_key or [], api_key_file)
    options = ServeOptions(host, port, *keys, no_auth, None, limits, max_connections)
    serve_tools_by_http(mixtures, options, timeout)
