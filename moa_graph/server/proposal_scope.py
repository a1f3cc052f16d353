"""The scope of stored proposals: the key of a request."""

from hashlib import sha256

from langchain_core.runnables import RunnableConfig
from starlette.requests import Request

from moa_graph.chat_model.caller import PROPOSAL_SCOPE
from moa_graph.server.auth import read_shown_keys


def scope_to_key(request: Request) -> RunnableConfig:
    """Return a run config that separates proposals by key; it contains no key."""
    return {"configurable": {PROPOSAL_SCOPE: read_proposal_scope(request)}}


def read_proposal_scope(request: Request) -> str:
    """Return the scope of the current request: a digest of its key."""
    keys = read_shown_keys(request.headers) or [request.headers.get("authorization", "")]
    return sha256("\n".join(keys).encode()).hexdigest()
