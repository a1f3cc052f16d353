"""Start the server, print its address and mixtures, and stop it gracefully."""

import asyncio
import errno
import logging
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer

from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import CommandError, requires_extra
from moa_graph.cli.forgiving_store import open_forgiving_store
from moa_graph.cli.garbage_collection import make_full_passes_rare
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig

with requires_extra("serve"):
    from moa_graph.cli.api_keys import read_api_keys
    from moa_graph.server.app import create_app, preload_dialects
    from moa_graph.server.auth import ApiKey
    from moa_graph.server.connections import ConnectionLimits
    from moa_graph.server.log_format import LogFormat, create_formatter
    from moa_graph.server.open_files import connections_that_fit, raise_open_file_limit
    from moa_graph.server.origin_policy import read_origin_policy
    from moa_graph.server.root_path import read_root_path
    from moa_graph.server.server import GracefulServer, open_socket
    from moa_graph.server.service import ApiOptions, MixtureService, ServerLimits
    from moa_graph.server.telemetry import ServerTelemetry


@dataclass(frozen=True)
class TelemetryOptions:
    """Options of log, metrics and traces."""

    log_format: LogFormat = "text"
    metrics: bool = False
    traces: bool = False

    def create_telemetry(self, mixtures: Mapping[str, MoAConfig]) -> ServerTelemetry:
        """Create metrics and traces.

        Raises:
            CommandError: If the package for metrics is missing.
            ImportError: If the package for traces is missing.
        """
        with requires_extra("metrics"):
            telemetry = ServerTelemetry(mixtures, metrics=self.metrics, traces=self.traces)
        if self.traces and not telemetry.records_traces:
            print_warning(
                "moa: --traces: no SDK of OpenTelemetry is configured, so spans are dropped; start "
                "the server by `opentelemetry-instrument moa serve …`"
            )
        return telemetry


@dataclass(frozen=True)
class ServeOptions:
    """Options of the server."""

    host: str
    port: int
    given_keys: Sequence[str]
    key_file: Path | None
    no_auth: bool
    db: str | None
    limits: Mapping[str, Any]
    connections: int
    api: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the API."""
    access: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Allowed clients: `allowed_hosts` and `origins` of `create_app`."""
    root_path: str = ""
    """Path prefix of a proxy."""
    drain: float = 0.0
    """Seconds that runs may continue after SIGTERM."""
    telemetry: TelemetryOptions = TelemetryOptions()
    api_keys: Sequence[ApiKey] = ()
    """Accepted keys."""
    token: str | None = None
    """A key that is generated at this start and printed."""
    without_keys: Sequence[MoAConfig] = ()
    """Presets whose keys are missing; the page lists them."""


def serve_mixtures(mixtures: Mapping[str, MoAConfig], options: ServeOptions) -> None:
    """Serve until the process is stopped.

    Raises:
        CommandError: If a key is missing, or the address is not available.
        ImportError: If a provider's package is not installed.
    """
    for mixture in mixtures.values():
        require_api_keys(mixture)
    options = choose_keys(check_access(options))
    log_to_stderr(options.telemetry.log_format)
    asyncio.run(_run_server(mixtures, options))
    typer.echo("moa: stopped", err=True)


def choose_keys(options: ServeOptions) -> ServeOptions:
    """Read the keys; without keys, generate a token, unless `--no-auth` is set.

    Raises:
        CommandError: If a key is invalid, or given together with `--no-auth`.
    """
    options = replace(options, api_keys=read_api_keys(options.given_keys, options.key_file))
    if options.api_keys and options.no_auth:
        raise CommandError(
            "--no-auth: a key is set, by --api-key, --api-key-file or MOA_API_KEY; choose one"
        )
    if options.api_keys or options.no_auth:
        return options
    token = make_token()
    return replace(options, token=token, api_keys=[ApiKey(token)])


def check_access(options: ServeOptions) -> ServeOptions:
    """Check allowed hosts, origins and the path prefix.

    Raises:
        CommandError: If one is invalid.
    """
    for option, name in (("--allow-host", "allowed_hosts"), ("--allow-origin", "origins")):
        try:
            read_origin_policy(**{name: options.access.get(name, ())})
        except ValueError as error:
            raise CommandError(f"{option}: {error}") from None
    try:
        return replace(options, root_path=read_root_path(options.root_path))
    except ValueError as error:
        raise CommandError(f"--root-path: {error}") from None


def make_token() -> str:
    """Generate a token; its prefix lets redaction recognize it as a key."""
    return f"sk-moa-{secrets.token_hex(24)}"


async def _run_server(mixtures: Mapping[str, MoAConfig], options: ServeOptions) -> None:
    async with open_forgiving_store(options.db, many_runs=True) as store:
        limits, api = ServerLimits(**options.limits), ApiOptions(**options.api)
        telemetry = options.telemetry.create_telemetry(mixtures)
        service = MixtureService(
            mixtures,
            store=store,
            limits=limits,
            api=api,
            telemetry=telemetry,
            without_keys=options.without_keys,
        )
        with open_server_socket(options) as sock:
            hosts = (options.host, socket.gethostname())
            app = create_app(
                service,
                api_keys=options.api_keys,
                hosts=hosts,
                root_path=options.root_path,
                **options.access,
            )
            bounds = ConnectionLimits(connections=fit_connections(options.connections))
            _print_addresses(mixtures, options, sock)
            preload_dialects()
            server = GracefulServer(app, service, bounds, drain=options.drain)
            make_full_passes_rare()
            await server.serve(sockets=[sock])


def fit_connections(connections: int) -> int:
    """Limit connections so that enough files stay free for the database and for models."""
    raise_open_file_limit()
    if (most := connections_that_fit()) is None or connections <= most:
        return connections
    print_warning(
        f"moa: --max-connections {connections}: the limit of open files allows {most}; "
        "raise `ulimit -n`"
    )
    return most


def open_server_socket(options: ServeOptions) -> socket.socket:
    """Open the listening socket.

    Raises:
        CommandError: If the address is not available.
    """
    try:
        return open_socket(options.host, options.port)
    except OSError as error:
        where = f"{bracket_ipv6(options.host)}:{options.port}"
        message = f"cannot listen on {where}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            message = f"{where} is taken by another program; choose another --port"
        raise CommandError(message) from None


def _print_addresses(
    mixtures: Mapping[str, MoAConfig], options: ServeOptions, sock: socket.socket
) -> None:
    host, port = sock.getsockname()[:2]
    address = f"http://{bracket_ipv6(host)}:{port}{options.root_path}"
    if options.no_auth:
        _warn_of_open_server(address, options)
    typer.echo(f"moa: {address}/v1 serves {', '.join(mixtures)}", err=True)
    if options.token:
        typer.echo(
            "moa: the token below is the API key of clients until the server stops", err=True
        )
    page = f"{address}/?token={options.token}" if options.token else address
    typer.echo(f"moa: {page} is the page, to ask questions and watch runs", err=True)


def _warn_of_open_server(address: str, options: ServeOptions) -> None:
    print_warning(
        f"moa: --no-auth: anyone who can reach {address}, including every user of this machine, "
        "can read your threads and spend your API keys"
    )
    if "*" in options.access.get("origins", ()):
        print_warning(
            "moa: --allow-origin '*' with --no-auth: every page that a browser opens can spend "
            "your API keys if the browser can reach the server; it cannot read your threads"
        )


def bracket_ipv6(host: str) -> str:
    """Return a host in the form of a URL."""
    return f"[{host}]" if ":" in host else host


def log_to_stderr(log_format: LogFormat = "text") -> None:
    """Log to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(create_formatter(log_format))
    logger = logging.getLogger("moa_graph.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # `moa` reports invalid HTTP itself; for upgrades uvicorn would report a missing package.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
