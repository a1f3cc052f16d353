"""The failure of a run without an answer: its causes, what is stored, how to resume."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord


@dataclass(frozen=True)
class RunFailure:
    """The failure of a run."""

    kind: Literal["bad", "wait"]
    """Whether it failed or is still running; also the name of its icon."""
    title: str
    cause: str
    kept: str
    """Description of the stored answers."""
    remedy: str


def describe_failure(
    run: RunRecord, graph_spec: GraphSpec | None, thread_id: str | None
) -> RunFailure | None:
    """Describe why a run has no answer, and how to continue it; `None` if it has one."""
    if run.answer:
        return None
    kept = sum(call.error is None for call in run.proposals)
    resume = f"`moa resume {thread_id}`, or " if thread_id else ""
    failure = RunFailure(
        "wait",
        "There is no answer yet",
        _describe_progress(run),
        f"{kept} of {run.planned_proposals} proposals are stored." if kept else "",
        f"Go on with {resume}`graph.invoke(None, config)` on its thread: what is stored is not "
        "asked again.",
    )
    writer = next((call for call in run.calls if call.node == AGGREGATOR and call.error), None)
    if writer:
        cause = f"{writer.model}: {writer.error}"
        return replace(failure, kind="bad", title="The aggregator failed", cause=cause)
    if (lost := _find_lost_layer(run, graph_spec)) is None:
        return failure
    title = f"Layer {lost[0].layer} failed"
    return replace(failure, kind="bad", title=title, cause=_describe_quorum(lost, graph_spec))


def _describe_progress(run: RunRecord) -> str:
    last = run.layers[-1] if run.layers else []
    if not last:
        return "No proposer has answered yet."
    size = run.layer_sizes.get(last[0].layer, len(last))
    answered = sum(call.error is None for call in last)
    return f"Of layer {last[0].layer}, {answered} of {size} answered."


def _find_lost_layer(run: RunRecord, graph_spec: GraphSpec | None) -> list[AgentCall] | None:
    """Return the layer without a quorum that ended the run."""
    if not run.layers or not all(call.is_proposal for call in run.layers[-1]):
        return None
    last = list(run.layers[-1])
    answered = sum(call.error is None for call in last)
    return last if answered < _required(last, graph_spec) and any(c.error for c in last) else None


def _required(layer: Sequence[AgentCall], graph_spec: GraphSpec | None) -> int:
    number = layer[0].layer
    if not graph_spec or number > len(graph_spec.layers):
        return 1
    spec = graph_spec.layers[number - 1]
    return spec.policy.required_answers(len(spec.agent_nodes))


def _describe_quorum(layer: Sequence[AgentCall], graph_spec: GraphSpec | None) -> str:
    answered = sum(call.error is None for call in layer)
    causes = "; ".join(f"{call.agent}: {call.error}" for call in layer if call.error)
    return f"{answered} answered, {_required(layer, graph_spec)} must. {causes}"
