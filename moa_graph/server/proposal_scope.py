"""Whose proposals a request keeps and finds: they belong to the key that it shows."""

from hashlib import sha256

from langchain_core.runnables import RunnableConfig
from starlette.requests import Request

from moa_graph.chat_model.caller import PROPOSAL_SCOPE

_KEY_HEADERS = ("authorization", "x-api-key")


def scope_to_key(request: Request) -> RunnableConfig:
    """Give the config of a run whose proposals others do not find; it holds no key."""
    shown = "\n".join(request.headers.get(name, "") for name in _KEY_HEADERS)
    return {"configurable": {PROPOSAL_SCOPE: sha256(shown.encode()).hexdigest()}}
