"""Depth decisions as the state stores them."""

from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11


class DepthDecision(TypedDict):
    """Decision of a node about the rest of a turn. `update_state` can write one.

    Attributes:
        node: The node that decided.
        stop: Whether the aggregator writes next; with `shadow`, whether it would have.
        why: The reason, in words.
        route: Route that a router chose: `full` for the layers.
        shadow: Whether the decision was only recorded.
        turn_id: Id of the answered message; without it, the decision applies to the present turn.
        started: Start of the call of a decision model, in seconds since 1970.
        model: Decision model.
        usage: Tokens of the decision model as LangChain's `UsageMetadata`; `None` if it did not
            report them.
        error_type: Class of a failed decision, as in `Proposal`; absent otherwise.
    """

    node: NotRequired[str]
    stop: bool
    why: NotRequired[str]
    route: NotRequired[str]
    shadow: NotRequired[bool]
    turn_id: NotRequired[str]
    started: NotRequired[float]
    model: NotRequired[str]
    usage: NotRequired[dict[str, Any] | None]
    error_type: NotRequired[str]
