"""Depth decisions as the state stores them."""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11


class DepthDecision(TypedDict):
    """Decision of a node about the rest of a turn. `update_state` can write one."""

    node: NotRequired[str]
    """The node that decided."""
    stop: bool
    """Whether the aggregator writes next; with `shadow`, whether it would have."""
    why: NotRequired[str]
    """The reason, in words."""
    route: NotRequired[str]
    """Route that a router chose: `full` for the layers."""
    shadow: NotRequired[bool]
    """Whether the decision was only recorded."""
    turn_id: NotRequired[str]
    """Id of the answered message; without it, the decision applies to the present turn."""
    started: NotRequired[float]
    """Start of the call of a decision model, in seconds since 1970."""
    model: NotRequired[str]
    """Decision model."""
    usage: NotRequired[dict[str, Any] | None]
    """Its tokens as LangChain's `UsageMetadata`; `None` if it did not report them."""
    error_type: NotRequired[str]
    """Class of a failed decision, as in `Proposal`; absent otherwise."""
