"""The endpoint `GET /metrics` for Prometheus."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moa_graph.server.access_log import METRICS_PATH
from moa_graph.server.service import MixtureService, get_service


def metrics_routes(service: MixtureService) -> list[Route]:
    """Return the route of the metrics; empty if they are disabled."""
    return [Route(METRICS_PATH, get_metrics)] if service.telemetry.metrics else []


async def get_metrics(request: Request) -> Response:
    """Return all metrics, in a format that the client accepts."""
    metrics = get_service(request).telemetry.metrics
    assert metrics is not None  # noqa: S101  # else there is no route
    content, content_type = metrics.encode(request.headers.get("accept", ""))
    return Response(content, headers={"content-type": content_type})
