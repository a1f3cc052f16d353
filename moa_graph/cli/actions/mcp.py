"""Serve mixtures as MCP tools over standard input and output, or over HTTP."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import typer

from moa_graph.cli.actions.serve import (
    ServeOptions,
    bracket_ipv6,
    choose_keys,
    fit_connections,
    log_to_stderr,
    open_server_socket,
)
from moa_graph.cli.choice import require_api_keys
from moa_graph.cli.errors import EXIT_INTERRUPTED, requires_extra
from moa_graph.cli.garbage_collection import make_full_passes_rare
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig
from moa_graph.server.connections import ConnectionLimits
from moa_graph.server.server import SHUTDOWN_TIMEOUT_S, GracefulServer
from moa_graph.server.service import MixtureService, ServerLimits

with requires_extra("mcp"):
    from moa_graph.server.mcp_app import MCP_PATH, create_mcp_app
    from moa_graph.server.mcp_tools import create_mcp_server, name_tools

if TYPE_CHECKING:
    from mcp.server.mcpserver import MCPServer

TERMINAL_NOTICE = (
    "moa: a host starts this command and talks to it over standard input; "
    "--http listens for clients; Ctrl-C ends"
)


def serve_tools_by_stdio(
    mixtures: Mapping[str, MoAConfig], limits: Mapping[str, int], timeout: float
) -> None:
    """Serve the host that started this process, until it closes standard input.

    Raises:
        CommandError: If a key is missing.
        ImportError: If a provider's package is not installed.
    """
    log_to_stderr()
    with redirect_stdout(sys.stderr):  # packages may print while models are built
        service, server = _create_server(mixtures, limits, timeout)
    if sys.stdin.isatty():
        typer.echo(TERMINAL_NOTICE, err=True)
    asyncio.run(_run_by_stdio(service, server))


def serve_tools_by_http(
    mixtures: Mapping[str, MoAConfig], options: ServeOptions, timeout: float
) -> None:
    """Listen for HTTP until the process is stopped.

    Raises:
        CommandError: If a key is missing, or the address is not available.
        ImportError: If a provider's package is not installed.
    """
    options = choose_keys(options)
    log_to_stderr()
    service, server = _create_server(mixtures, options.limits, timeout)
    asyncio.run(_run_by_http(service, server, options))
    typer.echo("moa: stopped", err=True)


def _create_server(
    mixtures: Mapping[str, MoAConfig], limits: Mapping[str, int], timeout: float
) -> "tuple[MixtureService, MCPServer[Any]]":
    for mixture in mixtures.values():
        require_api_keys(mixture)
    service = MixtureService(mixtures, limits=ServerLimits(**limits))
    return service, create_mcp_server(service, timeout=timeout)


async def _run_by_stdio(service: MixtureService, server: "MCPServer[Any]") -> None:
    interrupted = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted.set)
    serving = asyncio.create_task(server.run_stdio_async())
    interrupting = asyncio.create_task(interrupted.wait())
    await asyncio.wait({serving, interrupting}, return_when=asyncio.FIRST_COMPLETED)
    await service.stop_runs(SHUTDOWN_TIMEOUT_S)
    if interrupted.is_set():
        _exit_at_once()
    interrupting.cancel()
    await serving


def _exit_at_once() -> None:
    """End the process although one of its threads waits for a line."""
    typer.echo("moa: interrupted", err=True)
    sys.stderr.flush()
    os._exit(EXIT_INTERRUPTED)


async def _run_by_http(
    service: MixtureService, server: "MCPServer[Any]", options: ServeOptions
) -> None:
    with open_server_socket(options) as sock:
        hosts = (options.host, socket.gethostname())
        app = create_mcp_app(server, service.limits, api_keys=options.api_keys, hosts=hosts)
        limits = ConnectionLimits(connections=fit_connections(options.connections))
        _print_address(service, options, sock)
        make_full_passes_rare()
        async with server.session_manager.run():
            await GracefulServer(app, service, limits).serve(sockets=[sock])


def _print_address(service: MixtureService, options: ServeOptions, sock: socket.socket) -> None:
    host, port = sock.getsockname()[:2]
    address = f"http://{bracket_ipv6(host)}:{port}{MCP_PATH}"
    if options.no_auth:
        print_warning(
            f"moa: --no-auth: anyone who can reach {address}, including every user of this "
            "machine, can spend your API keys"
        )
    if options.token:
        typer.echo(f"moa: API key of clients until the server stops: {options.token}", err=True)
    tools = ", ".join(name_tools(service.mixtures.values()))
    typer.echo(f"moa: {address} offers {tools}", err=True)
