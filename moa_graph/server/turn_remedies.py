"""Remedies of a turn that failed or ended too early, as the page offers and requests them."""

from moa_graph.config.model import MoAConfig
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.prompting.finish_reasons import read_ending
from moa_graph.runs.record import RunRecord
from moa_graph.runs.remedies import (
    list_other_aggregators,
    with_aggregator,
    with_answer_limit,
    with_quorum,
)
from moa_graph.runs.stored_errors import read_node_errors
from moa_graph.server.checkpoints import CheckpointView
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.json_types import JsonObject
from moa_graph.server.page_requests import ContinueRequest, ResumeRequest

LIMIT_FACTOR = 2
"""The next limit of an answer that was cut off, relative to the one that it reached."""


def list_remedies(step: CheckpointView, run: RunRecord) -> JsonObject:
    """Return what helps a failed turn other than to resume it.

    `aggregators` are the models that can replace a failed aggregator, and `answers` is the number
    of answers with which a layer without its quorum can go on.
    """
    failed = next(iter(read_node_errors(step.snapshot)), "")
    others = list_other_aggregators(step.mixture) if failed == AGGREGATOR and run.proposals else {}
    return {"aggregators": [*others], "answers": _find_lost_layer(step)[1]}


def find_larger_limit(mixture: MoAConfig, run: RunRecord) -> int | None:
    """Return a larger limit for an answer that was cut off at its limit; `None` for others."""
    writer = next((call for call in run.calls if call.node == AGGREGATOR), None)
    if writer is None or read_ending(writer.finish_reason) != "cut":
        return None
    if mixture.picks_proposal or run.is_routed_past_layers:
        return None
    configured = mixture.with_defaults()
    agents = (configured.aggregator, *configured.fallbacks)
    limit = next((each.max_tokens for each in agents if each.label == writer.model), None)
    written = writer.usage["output_tokens"] if writer.usage else None
    reached = limit or written
    return LIMIT_FACTOR * reached if reached else None


def choose_mixture_to_resume(step: CheckpointView, body: ResumeRequest) -> MoAConfig:
    """Return the mixture with which a turn is resumed.

    Raises:
        ApiError: If a remedy does not fit the turn.
    """
    mixture = step.mixture
    if body.aggregator:
        try:
            mixture = with_aggregator(mixture, body.aggregator)
        except ValueError as error:
            raise ApiError(400, f"aggregator: {error}", param="aggregator") from None
    if body.lower_quorum:
        layer, answers = _find_lost_layer(step)
        if not answers:
            message = "lower_quorum: no layer lacks its quorum and has an answer at this step"
            raise ApiError(HTTP_CONFLICT, message, param="lower_quorum")
        mixture = with_quorum(mixture, layer, answers)
    return mixture


def choose_mixture_to_continue(step: CheckpointView, body: ContinueRequest) -> MoAConfig:
    """Return the mixture with which a thread continues from a step."""
    if body.max_tokens is None:
        return step.mixture
    return with_answer_limit(step.mixture, body.max_tokens)


def _find_lost_layer(step: CheckpointView) -> tuple[int, int | None]:
    """Return the layer whose quorum ended the turn, and its answers; else 0, and `None`."""
    name = parse_node_name(next(iter(read_node_errors(step.snapshot)), ""))
    if not name or not name.is_layer_aggregator:
        return 0, None
    proposals = [p for p in step.values["proposals"].values() if p["layer"] == name.layer]
    answers = sum(not proposal["error"] for proposal in proposals)
    policy = step.mixture.layer_policies()[name.layer - 1]
    is_lost = 0 < answers < policy.required_answers(len(proposals))
    return name.layer, answers if is_lost else None
