"""The endpoint `/v1/models`: one model for each mixture."""

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from moa_graph.server.anthropic_dialect import speaks_anthropic
from moa_graph.server.anthropic_models import list_model_infos, model_info
from moa_graph.server.service import MixtureService, get_service


async def list_models(request: Request) -> Response:
    """List the mixtures."""
    service = get_service(request)
    await service.context_lengths.refresh()
    if speaks_anthropic(request.scope):
        return JSONResponse(list_model_infos(service))
    models = [_model_object(service, name) for name in service.mixtures]
    return JSONResponse({"object": "list", "data": models})


async def get_model(request: Request) -> Response:
    """Return one mixture."""
    service, name = get_service(request), request.path_params["model"]
    if not name:
        raise HTTPException(404)
    service.get_mixture(name)
    await service.context_lengths.refresh()
    if speaks_anthropic(request.scope):
        return JSONResponse(model_info(service, name))
    return JSONResponse(_model_object(service, name))


def _model_object(service: MixtureService, name: str) -> dict[str, Any]:
    """Describe a mixture; its context length has the keys of OpenRouter, LM Studio and vLLM."""
    model = {"id": name, "object": "model", "created": service.started, "owned_by": "moa_graph"}
    if tokens := service.context_lengths.find(name):
        model |= {"context_length": tokens, "max_model_len": tokens}
    return model
