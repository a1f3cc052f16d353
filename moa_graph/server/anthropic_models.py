"""`/v1/models` in Anthropic's format."""

from datetime import UTC, datetime

from moa_graph.server.json_types import JsonObject
from moa_graph.server.service import MixtureService


def list_model_infos(service: MixtureService) -> JsonObject:
    """List the mixtures on one page."""
    models = [model_info(service, name) for name in service.mixtures]
    ends = {"first_id": models[0]["id"], "last_id": models[-1]["id"]} if models else {}
    return {"data": models, "has_more": False, "first_id": None, "last_id": None, **ends}


def model_info(service: MixtureService, name: str) -> JsonObject:
    """Return one mixture."""
    return {
        "type": "model",
        "id": name,
        "display_name": name,
        "created_at": datetime.fromtimestamp(service.started, UTC).isoformat(),
        "lifecycle": "active",
        "max_input_tokens": service.context_lengths.find(name),
    }
