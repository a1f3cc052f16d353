"""`/v1/models`: each mixture is a model."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.server.service import MixtureService, get_service


async def list_models(request: Request) -> Response:
    """List the mixtures."""
    service = get_service(request)
    models = [_model_object(service, name) for name in service.mixtures]
    return JSONResponse({"object": "list", "data": models})


async def get_model(request: Request) -> Response:
    """Tell of one mixture."""
    service, name = get_service(request), request.path_params["model"]
    if not name:
        raise HTTPException(404)
    service.get_mixture(name)
    return JSONResponse(_model_object(service, name))


def _model_object(service: MixtureService, name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": service.started, "owned_by": "moa_graph"}
