"""The outcome of a turn (answered, degraded or unanswered) and the possible next actions."""

from collections.abc import Iterator, Sequence
from typing import Literal

from langchain_core.messages import AIMessage, BaseMessage

from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.prompting.parsing import read_finish_reason
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord
from moa_graph.runs.stored_errors import read_node_errors
from moa_graph.server.checkpoints import CheckpointView
from moa_graph.server.json_types import JsonObject
from moa_graph.server.turn_remedies import list_remedies

Outcome = Literal["answered", "degraded", "failed", "stopped", "running"]
"""Outcome of a turn; `degraded` is an incomplete answer, or one with fewer proposals than
configured."""


def judge_turn(step: CheckpointView, run: RunRecord) -> Outcome | None:
    """Return the outcome of a turn; `None` if a later checkpoint follows."""
    if run.answer is not None:
        return "degraded" if is_degraded(run.answer) else "answered"
    if not step.is_branch_end:
        return None
    return "failed" if step.error else "stopped"


def describe_degradation(run: RunRecord) -> list[str] | None:
    """Describe why an answer is degraded; `None` if it is not, or does not exist."""
    if run.answer is None or not is_degraded(run.answer):
        return None
    return [*_list_losses(run)] or ["fewer proposers answered than configured"]


def describe_failure(step: CheckpointView, run: RunRecord) -> JsonObject | None:
    """Describe the failure of a turn: the cause, the stored answers and the next actions."""
    if run.answer is not None or not step.error:
        return None
    node = next(iter(read_node_errors(step.snapshot)))
    failed = [call for call in run.proposals if call.error and call.layer == _layer_of(node)]
    stored = [call for call in run.proposals if not call.error]
    return {
        "what": step.error,
        "whose": ", ".join(map(_name_call, failed)) or _name_node(node, run),
        "kept": _describe_kept(stored),
        "remedy": _describe_remedy(node, failed),
        "asks": [call.node for call in failed] or [node],
        **list_remedies(step, run),
    }


def is_degraded(answer: BaseMessage) -> bool:
    """Whether an answer is incomplete, or has fewer proposals than configured."""
    if isinstance(answer, AIMessage) and describe_ending(read_finish_reason(answer)):
        return True
    summary = read_run_summary(answer)
    return bool(summary and (summary.get("degraded") or summary["failed"]))


def _list_losses(run: RunRecord) -> Iterator[str]:
    for call in run.proposals:
        if call.error:
            yield f"{_name_call(call)} {_describe_end(call)}"
    writer = next((call for call in run.calls if call.node == AGGREGATOR), None)
    if writer and writer.ending_note:
        yield f"the answer is {writer.ending_note}"
    if run.failed_writers and writer:
        failed = run.failed_writers[0]
        yield f"{writer.model} wrote in place of {failed.model}, which failed: {failed.error}"


def _describe_end(call: AgentCall) -> str:
    return str(call.error) if call.status == "cut off" else f"failed: {call.error}"


def _name_call(call: AgentCall) -> str:
    return f"{call.agent} ({call.model}) of layer {call.layer}"


def _name_node(node: str, run: RunRecord) -> str:
    call = next((each for each in run.calls if each.node == node), None)
    return f"{node} ({call.model})" if call and call.model else node


def _layer_of(node: str) -> int | None:
    name = parse_node_name(node)
    return name.layer if name else None


def _describe_kept(stored: Sequence[AgentCall]) -> str:
    if not stored:
        return "the question"
    count = f"{len(stored)} proposal{'' if len(stored) == 1 else 's'}"
    return f"the question and {count}; Resume does not repeat them"


def _describe_remedy(node: str, failed: Sequence[AgentCall]) -> str:
    if failed:
        names = ", ".join(call.agent for call in failed)
        return f"Resume asks {names} again, and no other agent"
    if node == AGGREGATOR:
        return "Resume asks the aggregator again, and no proposer"
    return "Resume continues from the stored answers"
