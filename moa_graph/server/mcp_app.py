"""The ASGI application of `moa mcp --http`, with authentication and limits."""

from collections.abc import Iterable, Sequence
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Route

from moa_graph.server.access_log import AccessLogMiddleware
from moa_graph.server.app import get_health
from moa_graph.server.auth import ApiKey, AuthMiddleware
from moa_graph.server.connections import HEALTH_PATH
from moa_graph.server.origin_policy import read_origin_policy
from moa_graph.server.service import ServerLimits

MCP_PATH = "/mcp"
MAX_SESSIONS = 1000  # sessions of clients with protocols before 2026-07-28


def create_mcp_app(
    server: MCPServer[Any],
    limits: ServerLimits,
    *,
    api_keys: Sequence[ApiKey] = (),
    hosts: Iterable[str] = (),
) -> Starlette:
    """Create the ASGI application; it responds while `server.session_manager.run()` is active.

    Args:
        server: Result of `create_mcp_server`.
        limits: Limits of requests.
        api_keys: As in `create_app`.
        hosts: As in `create_app`.
    """
    protocol = server.streamable_http_app(
        streamable_http_path=MCP_PATH,
        max_request_body_size=limits.body,
        max_sessions=MAX_SESSIONS,
        # `AuthMiddleware` checks the host and the origin.
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
    )
    return Starlette(
        routes=[Route(HEALTH_PATH, get_health), *protocol.routes],
        middleware=[
            Middleware(AccessLogMiddleware),
            Middleware(
                AuthMiddleware,
                api_keys=api_keys,
                origin_policy=read_origin_policy(hosts),
                open_paths=frozenset({HEALTH_PATH}),
            ),
        ],
    )
