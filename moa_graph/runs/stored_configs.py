"""The mixture that each checkpoint of a run stores in its metadata."""

from typing import Any

from langgraph.types import StateSnapshot
from pydantic import ValidationError

from moa_graph.config.model import STORED, MoAConfig

CONFIG_KEY = "moa_config"
"""Metadata key of the mixture."""


def read_stored_config(snapshot: StateSnapshot) -> str | None:
    """Return the stored mixture of a checkpoint as JSON; `None` for another program's."""
    metadata: dict[str, Any] = {**(snapshot.metadata or {})}
    return metadata.get(CONFIG_KEY)


def load_stored_config(stored: Any) -> MoAConfig | None:
    """Parse a stored mixture; `None` if there is none, or this version cannot read it."""
    try:
        return MoAConfig.model_validate_json(stored, context=STORED) if stored else None
    except ValidationError:
        return None
