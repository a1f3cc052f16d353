"""Start the server, say where it listens and what it serves, and stop it well."""

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
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig

with requires_extra("serve"):
    from moa_graph.cli.api_keys import read_api_keys
    from moa_graph.server.app import create_app
    from moa_graph.server.auth import ApiKey
    from moa_graph.server.connections import ConnectionLimits
    from moa_graph.server.open_files import connections_that_fit, raise_open_file_limit
    from moa_graph.server.server import GracefulServer, open_socket
    from moa_graph.server.service import ApiOptions, MixtureService, ServerLimits


@dataclass(frozen=True)
class ServeOptions:
    """How it serves."""

    host: str
    port: int
    given_keys: Sequence[str]
    key_file: Path | None
    no_auth: bool
    db: str | None
    limits: Mapping[str, int]
    connections: int
    api: Mapping[str, Any] = field(default_factory=dict)
    """How the API treats requests."""
    api_keys: Sequence[ApiKey] = ()
    """The keys that are let in."""
    token: str | None = None
    """A key of this start alone, which is printed."""


def serve_mixtures(mixtures: Mapping[str, MoAConfig], options: ServeOptions) -> None:
    """Serve until somebody stops it.

    Raises:
        CommandError: If a key is missing, or it cannot listen there.
        ImportError: If a provider's package is not installed.
    """
    for mixture in mixtures.values():
        require_api_keys(mixture)
    options = choose_keys(options)
    log_to_stderr()
    asyncio.run(_run_server(mixtures, options))
    typer.echo("moa: stopped", err=True)


def choose_keys(options: ServeOptions) -> ServeOptions:
    """Read the keys, and make a token where there are none, unless everybody is let in.

    Raises:
        CommandError: If a key cannot be one, or stands beside `--no-auth`.
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


def make_token() -> str:
    """Make a token; by how it begins, errors and logs know it for a key and blot it out."""
    return f"sk-moa-{secrets.token_hex(24)}"


async def _run_server(mixtures: Mapping[str, MoAConfig], options: ServeOptions) -> None:
    async with open_forgiving_store(options.db, many_runs=True) as store:
        limits, api = ServerLimits(**options.limits), ApiOptions(**options.api)
        service = MixtureService(mixtures, store=store, limits=limits, api=api)
        with open_server_socket(options) as sock:
            hosts = (options.host, socket.gethostname())
            app = create_app(service, api_keys=options.api_keys, hosts=hosts)
            bounds = ConnectionLimits(connections=fit_connections(options.connections))
            _print_addresses(mixtures, options, sock)
            await GracefulServer(app, service, bounds).serve(sockets=[sock])


def fit_connections(wanted: int) -> int:
    """Leave files to the database and the connections to models."""
    raise_open_file_limit()
    if (most := connections_that_fit()) is None or wanted <= most:
        return wanted
    print_warning(
        f"moa: --max-connections {wanted}: {most} fit in the files that may be open; "
        "raise `ulimit -n`"
    )
    return most


def open_server_socket(options: ServeOptions) -> socket.socket:
    """Listen.

    Raises:
        CommandError: If that cannot be.
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
    address = f"http://{bracket_ipv6(host)}:{port}"
    if options.no_auth:
        print_warning(
            f"moa: --no-auth: whoever reaches {address}, each user of this machine included, can "
            "read your threads and spend your API keys"
        )
    typer.echo(f"moa: {address}/v1 serves {', '.join(mixtures)}", err=True)
    if options.token:
        typer.echo(
            "moa: the token below is the API key of clients, until the server stops", err=True
        )
    page = f"{address}/?token={options.token}" if options.token else address
    typer.echo(f"moa: {page} is a page to ask and to watch", err=True)


def bracket_ipv6(host: str) -> str:
    """Give a host as it stands in an address."""
    return f"[{host}]" if ":" in host else host


def log_to_stderr() -> None:
    """Print what the server logs."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("moa: %(message)s"))
    logger = logging.getLogger("moa_graph.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    # What is no HTTP is told above; of upgrades it says that a package is missing.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
