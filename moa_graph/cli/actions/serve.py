"""Start the server, say where it listens and what it serves, and stop it well."""

import asyncio
import errno
import logging
import os
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address

import typer

from moa_graph.cli.actions.run import check_keys
from moa_graph.cli.errors import CommandError
from moa_graph.config.model import MoAConfig
from moa_graph.runs.store import open_store

try:
    from moa_graph.server.app import create_app
    from moa_graph.server.server import Server, listen
    from moa_graph.server.service import Limits, Service
except ModuleNotFoundError as missing:
    package = (missing.name or "").partition(".")[0]
    if package == "moa_graph":
        raise
    raise CommandError(f"{package} is not installed; pip install 'moa_graph[serve]'") from None


@dataclass(frozen=True)
class Options:
    """How it serves."""

    host: str
    port: int
    api_key: str | None
    db: str | None
    limits: Mapping[str, int]


def serve_mixtures(mixtures: Mapping[str, MoAConfig], options: Options) -> None:
    """Serve until somebody stops it.

    Raises:
        CommandError: If a key is missing, or it cannot listen there.
        ImportError: If a provider's package is not installed.
    """
    for mixture in mixtures.values():
        check_keys(mixture)
    _check_api_key(options.api_key)
    _log_to_stderr()
    asyncio.run(_serve(mixtures, options))
    typer.echo("moa: stopped", err=True)


def _check_api_key(key: str | None) -> None:
    """Refuse an empty key: who gives one wants no open server.

    Typer takes an empty variable for none.
    """
    variable = os.environ.get("MOA_API_KEY")
    if key is None or key == variable:
        name, key = "MOA_API_KEY", variable
    else:
        name = "--api-key"
    if key is not None and not key.strip():
        raise CommandError(f"{name}: empty; expected a key, or leave it out")


async def _serve(mixtures: Mapping[str, MoAConfig], options: Options) -> None:
    async with open_store(options.db) as store:
        service = Service(mixtures, store=store, limits=Limits(**options.limits))
        with _listen(options) as sock:
            hosts = (options.host, socket.gethostname())
            app = create_app(service, api_key=options.api_key, hosts=hosts)
            _announce(mixtures, options, sock)
            await Server(app, service).serve(sockets=[sock])


def _listen(options: Options) -> socket.socket:
    try:
        return listen(options.host, options.port)
    except OSError as error:
        where = f"{_shown(options.host)}:{options.port}"
        message = f"cannot listen on {where}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            message = f"{where} is taken by another program; choose another --port"
        raise CommandError(message) from None


def _announce(mixtures: Mapping[str, MoAConfig], options: Options, sock: socket.socket) -> None:
    host, port = sock.getsockname()[:2]
    if not ip_address(host).is_loopback and not options.api_key:
        typer.echo(
            f"moa: listening on {host} without a key: whoever reaches it can spend yours; "
            "set MOA_API_KEY",
            err=True,
        )
    address = f"http://{_shown(host)}:{port}"
    typer.echo(f"moa: {address}/v1 serves {', '.join(mixtures)}", err=True)
    typer.echo(f"moa: {address} is a page to ask and to watch", err=True)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _log_to_stderr() -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("moa: %(message)s"))
    logger = logging.getLogger("moa_graph.server")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
