"""`AgentCall`: one call of an agent in a run, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from moa_graph.graph.deadlines import DeadlineExceededError
from moa_graph.graph.failed_calls import FailedCall
from moa_graph.graph.node_names import AGGREGATOR, parse_helper_role
from moa_graph.graph.state import OriginalCallStats, Proposal, RefusedPrompt
from moa_graph.prompting.finish_reasons import describe_ending

_EARLIER_CUT_OFFS = ("cut off", "no answer within its timeout")
"""Beginnings of the errors of `graph/deadlines.py` in threads of versions without `error_type`."""

CallStatus = Literal["answered", "failed", "cut off"]


def call_status(error: str | None, error_type: str | None = None) -> CallStatus:
    """Return how a call ended.

    Args:
        error: Cause of the failure; `None` if there is an answer.
        error_type: Class of the failure; `None` if an earlier version stored the call.
    """
    if error is None:
        return "answered"
    if error_type is None:
        return "cut off" if error.startswith(_EARLIER_CUT_OFFS) else "failed"
    return "cut off" if error_type == DeadlineExceededError.__name__ else "failed"


def read_call_status(call: Proposal | FailedCall) -> CallStatus:
    """Return how a stored call ended."""
    return call_status(call["error"], call.get("error_type"))


@dataclass(frozen=True)
class AgentCall:
    """One call of an agent."""

    node: str
    layer: int
    """Number of the layer, from 1; for the aggregator, one more than that of the last layer."""
    agent: str
    model: str
    text: str
    error: str | None
    started: float | None
    """Start in seconds since 1970; `None` for runs of versions that did not store it."""
    seconds: float
    dropped_reference_chars: int
    """Characters of references that were left out of the prompt."""
    usage: Mapping[str, Any] | None
    cost: float | None
    """Estimated cost in US dollars; `None` if unknown."""
    cached: OriginalCallStats | None = None
    """Original tokens and seconds of a cached answer, which costs nothing now."""
    saved_cost: float | None = None
    """Estimated original cost in US dollars; `None` if unknown."""
    dropped_messages: int = 0
    """Messages of earlier turns that were left out of the prompt."""
    refused_prompt: RefusedPrompt | None = None
    """The prompt that the model refused before as too long."""
    finish_reason: str | None = None
    """Finish reason as the provider reports it."""
    partial_text: str = ""
    """Partial text of a failed answer."""
    may_be_billed: bool = False
    """Whether it failed or was hedged, and may have cost an unknown number of tokens."""
    hedged: bool = False
    """Whether the request was sent a second time because of `hedge`."""
    joint_samples: int = 1
    """Number of samples in its request; its tokens are a share of the request's tokens."""
    selected: bool = False
    """Whether the aggregator selected it as the answer."""
    is_timed: bool = True
    """Whether its duration is known."""
    served_model: str | None = None
    """Model that answered, as the provider reports it."""
    is_edited: bool = False
    """Whether a person has replaced its text."""
    error_type: str | None = None
    """Class of the failure: the HTTP status, or the name of the exception."""

    @property
    def status(self) -> CallStatus:
        """How the call ended."""
        return call_status(self.error, self.error_type)

    @property
    def is_proposal(self) -> bool:
        """Whether it is the call of a proposer."""
        return self.node != AGGREGATOR and self.helper_role is None

    @property
    def helper_role(self) -> str | None:
        """Role of a helper node; `None` for a proposer and for the aggregator."""
        return parse_helper_role(self.node)

    @property
    def ending_note(self) -> str | None:
        """Note about an incomplete answer, such as that it is truncated."""
        return None if self.error else describe_ending(self.finish_reason)

    @property
    def is_billed(self) -> bool:
        """Whether the call is billed or may be."""
        return self.error is None or self.usage is not None or self.may_be_billed

    @property
    def is_cost_known(self) -> bool:
        """Whether `cost` is the complete cost."""
        return self.cost is not None and not self.may_be_billed

    @property
    def cached_prompt_tokens(self) -> int:
        """Prompt tokens from providers' caches, as far as they are reported."""
        return ((self.usage or {}).get("input_token_details") or {}).get("cache_read") or 0

    @property
    def ended(self) -> float:
        """End in seconds since 1970."""
        return (self.started or 0.0) + self.seconds
