"""The command `moa serve`: its options."""

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from moa_graph.cli import completion
from moa_graph.cli.options import (
    DatabaseOption,
    HostOption,
    LogFormatOption,
    MaxConnectionsOption,
    MaxRunsOption,
    PortOption,
    QueueOption,
    RunCostOption,
)
from moa_graph.cli.registration import ASK_PANEL

PANEL = ASK_PANEL
EXAMPLES = ("moa serve", "moa serve --preset together --config mine.toml --port 9000")


def serve(  # long because of options and help text
    preset: Annotated[
        list[str] | None,
        typer.Option(
            "--preset",
            "-p",
            metavar="NAME",
            help="A mixture to serve, by name. Repeatable.",
            autocompletion=completion.complete_presets,
        ),
    ] = None,
    config: Annotated[
        list[Path] | None,
        typer.Option(
            "--config", "-c", metavar="FILE", help="A mixture of your own to serve. Repeatable."
        ),
    ] = None,
    single: Annotated[
        list[str] | None,
        typer.Option(
            "--single",
            metavar="NAME=MODEL",
            help="Also serve a single model, for titles and other small tasks of clients: "
            "titles=openai:gpt-6-luna, or titles=qwen for an agent of a mixture. Repeatable.",
        ),
    ] = None,
    max_cost: RunCostOption = None,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8000,
    api_key: Annotated[
        list[str] | None,
        typer.Option(
            "--api-key",
            metavar="KEY",
            help="Require this key instead of a token generated at each start. Repeatable. "
            "Prefer the variable MOA_API_KEY, or a file: `ps` shows options.",
        ),
    ] = None,
    api_key_file: Annotated[
        Path | None,
        typer.Option(
            "--api-key-file",
            metavar="FILE",
            help="A TOML file of names and keys, such as: ada = 'a long text'. The log contains "
            "the name of the key of each request.",
        ),
    ] = None,
    no_auth: Annotated[
        bool,
        typer.Option("--no-auth", help="Require no key. All users of this machine have access."),
    ] = False,
    allow_origin: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-origin",
            metavar="ORIGIN",
            help="Allow pages of this site to use the API: https://chat.example.org, "
            "http://localhost:3000, app://obsidian.md, null. Repeatable. `*` allows every page "
            "that a browser opens: use it only with a key.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            "--allow-host",
            metavar="HOST",
            help="Accept requests that name this host: moa, moa.example.org, *.local. Repeatable. "
            "Needed with --no-auth, and for the page behind a proxy.",
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(
            "--root-path",
            metavar="PATH",
            help="Path prefix of a proxy for API and page, such as /moa.",
        ),
    ] = "",
    db: DatabaseOption = None,
    max_body: Annotated[
        int,
        typer.Option(
            "--max-body", metavar="MB", min=1, help="Maximum size of a request, in megabytes."
        ),
    ] = 10,
    max_messages: Annotated[
        int,
        typer.Option(
            "--max-messages", metavar="N", min=1, help="Maximum number of messages in a request."
        ),
    ] = 1000,
    max_runs: MaxRunsOption = 32,
    queue: QueueOption = 32,
    max_connections: MaxConnectionsOption = 512,
    heartbeat: Annotated[
        float,
        typer.Option(
            "--heartbeat",
            metavar="SECONDS",
            min=0,
            help="Send white space at this interval before an answer that is not streamed, so that "
            "proxies and clients keep waiting. The status is then 200, also of an error. 0 for "
            "never.",
        ),
    ] = 0,
    rejoin: Annotated[
        float,
        typer.Option(
            "--rejoin",
            metavar="SECONDS",
            min=0,
            help="Continue a run this long after its client disconnects: the same request within "
            "this time gets its answer. 0 cancels the run at once.",
        ),
    ] = 0,
    drain: Annotated[
        float,
        typer.Option(
            "--drain",
            metavar="SECONDS",
            min=0,
            help="On SIGTERM, start no new runs and let running ones continue for this long; a "
            "second signal cancels them. 0 cancels them at once, as Ctrl-C does.",
        ),
    ] = 0,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Reject request parameters that have no effect. By default they are ignored "
            "and named in the log and in a header.",
        ),
    ] = False,
    usage: Annotated[
        Literal["run", "aggregator"],
        typer.Option(
            "--usage",
            help="Tokens in the field `usage` of an answer: those of the whole run or of its "
            "aggregator. The others are in the field `moa`.",
        ),
    ] = "run",
    log_format: LogFormatOption = "text",
    metrics: Annotated[
        bool,
        typer.Option(
            "--metrics", help="Count runs, calls, tokens and cost for Prometheus, at /metrics."
        ),
    ] = False,
    traces: Annotated[
        bool,
        typer.Option(
            "--traces",
            help="Create OpenTelemetry traces. Start the server with opentelemetry-instrument to "
            "configure their destination.",
        ),
    ] = False,
) -> None:
    """Serve mixtures to clients of OpenAI's API. Each mixture is a model with its name.

    Without --preset or --config, it serves `offline` and the presets whose keys are set.

    The page at http://127.0.0.1:8000 shows runs and takes questions.

    The base URL of clients is http://127.0.0.1:8000/v1. Their API key is the one
    that you set, or the token in the printed address of the page.
    Ctrl-C stops the server and its runs.
    """
    from moa_graph.cli.choice import load_mixtures, presets_without_keys

    loaded = load_mixtures(preset or [], config or [])
    without_keys = [] if preset or config else presets_without_keys()
    mixtures = {name: mixture.override(max_cost=max_cost) for name, mixture in loaded.items()}
    from moa_graph.cli.actions.serve import ServeOptions, TelemetryOptions, serve_mixtures
    from moa_graph.cli.singles import load_singles

    served = {**mixtures, **load_singles(single or [], mixtures)}
    keys = (api_key or [], api_key_file)
    limits = {"body": max_body * 1_000_000, "messages": max_messages, "runs": max_runs}
    waits = {"queue": queue, "heartbeat": heartbeat, "rejoin": rejoin}
    api = {"strict": strict, "usage": usage}
    access = {"allowed_hosts": allow_host or [], "origins": allow_origin or []}
    telemetry = TelemetryOptions(log_format, metrics=metrics, traces=traces)
    options = ServeOptions(host, port, *keys, no_auth, db, limits | waits, max_connections, api)
    options = replace(options, access=access, root_path=root_path, drain=drain, telemetry=telemetry)
    options = replace(options, without_keys=without_keys)
    serve_mixtures(served, options)
