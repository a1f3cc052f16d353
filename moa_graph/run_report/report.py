"""A run as one HTML page that needs nothing else: no network, no script."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from langgraph.types import StateSnapshot

from moa_graph.drawing.diagram import build_run_diagram, read_diagram
from moa_graph.drawing.svg import render_svg
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.models.pricing import Prices
from moa_graph.run_report.influence import (
    MIN_SHARED_WORDS,
    Influence,
    measure_influence,
    round_percentages,
)
from moa_graph.run_report.prompts import MixtureGraph, find_graph_spec, read_prompts
from moa_graph.run_report.timeline import build_timeline
from moa_graph.runs import formatting
from moa_graph.runs.record import AgentCall, RunRecord, read_run

if TYPE_CHECKING:
    from jinja2 import Template

Count = TypeVar("Count", int, float)

GOLDEN_ANGLE = 137.5  # degrees: neighbours in a list get hues that are far apart


def report(
    state: Mapping[str, Any],
    graph: MixtureGraph | None = None,
    *,
    history: Iterable[StateSnapshot] = (),
    prices: Prices | None = None,
) -> str:
    """Write what happened in a run as a page: one file, which loads nothing and runs nothing.

    It shows the drawing with the run on it, the calls on a time axis, each proposal beside the
    answer, what each layer read, tokens and cost, and which proposals the answer is worded like.

    Args:
        state: What the mixture returned, or the `values` of a `StateSnapshot` of it. The state of
            a host graph has the proposals only if `MoAState` is its schema.
        graph: The mixture, or a host that embeds it, for the layout of its prompts and its agents'
            own system prompts. Without it they are shown in the paper's layout, and said to be
            rebuilt.
        history: What `get_state_history` gives for the thread: the prompts are then read from
            the checkpoints, to the letter.
        prices: As in `draw_mermaid`.

    Returns:
        HTML. What models wrote is in it as text; nothing in it can run.

    Raises:
        ValueError: If that is not the state of a mixture, or one of another graph.
        ImportError: If the extra `report` is not installed.
    """
    snapshots, run = list(history), _read_ordered_run(state, graph, prices)
    return _load_template().render(
        run=run,
        origin=_describe_origin(run, graph, snapshots),
        drawing=render_svg(read_diagram(graph, run) if graph else build_run_diagram(run)),
        timeline=build_timeline(run),
        prompts=read_prompts(run, state, graph, snapshots),
        agents=_total_by_agent(run),
        sources=_number_proposals(run),
        influence=_measure_influences(run),
    )


def _load_template() -> "Template":
    """Load the template of the page.

    Raises:
        ImportError: If the extra `report` is not installed.
    """
    try:
        from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ImportError(
            f"a report needs the package {error.name}: pip install 'moa_graph[report]'"
        ) from None
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        finalize=_strip_hidden,
    )
    environment.globals |= {
        "formatting": formatting,
        "shortest": MIN_SHARED_WORDS,
        "percentages": round_percentages,
    }
    return environment.get_template("page.html")


def _read_ordered_run(
    state: Mapping[str, Any], graph: MixtureGraph | None, prices: Prices | None
) -> RunRecord:
    """Read a run; its calls are in the order of the graph, where that is known."""
    run = read_run(state, prices=prices)
    if not (graph_spec := find_graph_spec(graph, run)):
        return run
    nodes = [agent.node for layer in graph_spec.layers for agent in layer.agent_nodes]
    return read_run(state, prices=prices, order=nodes)


def _strip_hidden(value: Any) -> Any:
    """Drop from every text of the page what it could hide behind."""
    markup = hasattr(value, "__html__")
    return (
        formatting.strip_hidden_characters(value)
        if isinstance(value, str) and not markup
        else value
    )


def _describe_origin(
    run: RunRecord, graph: MixtureGraph | None, snapshots: Sequence[StateSnapshot]
) -> list[str]:
    """Say what the report is of, as far as that is known."""
    started = min((call.started for call in run.calls if call.started), default=None)
    name = getattr(graph, "name", None)
    thread_config = snapshots[0].config["configurable"] if snapshots else {}
    return [
        *([f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M} UTC"] if started else []),
        *([f"mixture {name}"] if name else []),
        *([f"thread {thread_config['thread_id']}"] if "thread_id" in thread_config else []),
        f"moa_graph {version('moa_graph')}",
    ]


@dataclass(frozen=True)
class AgentTotals:
    """What an agent came to, over all layers."""

    agent: str
    model: str
    calls: int
    answered: int
    tokens_read: int | None
    """`None` where no call told its tokens."""
    tokens_written: int | None
    seconds: float
    cost: float | None
    usage_is_complete: bool
    """Whether all that answered told their tokens."""
    cost_is_complete: bool
    """Whether the cost of all that answered is known."""


def _total_by_agent(run: RunRecord) -> list[AgentTotals]:
    calls: dict[tuple[str, str], list[AgentCall]] = defaultdict(list)
    for call in (*run.calls, *run.failed_writers):
        calls[call.agent, call.model].append(call)
    return [_agent_totals(each) for each in calls.values()]


def _agent_totals(calls: Sequence[AgentCall]) -> AgentTotals:
    # Above the bound of complexity: one sum a field, of which each is read by itself.
    usages = [call.usage for call in calls if call.usage]
    return AgentTotals(
        agent=calls[0].agent,
        model=calls[0].model,
        calls=len(calls),
        answered=sum(call.error is None for call in calls),
        tokens_read=_sum_known(usage["input_tokens"] for usage in usages),
        tokens_written=_sum_known(usage["output_tokens"] for usage in usages),
        seconds=sum(call.seconds for call in calls),
        cost=_sum_known(call.cost for call in calls),
        usage_is_complete=all(c.usage and not c.may_be_billed for c in calls if c.is_billed),
        cost_is_complete=all(call.is_cost_known for call in calls if call.is_billed),
    )


def _sum_known(values: Iterable[Count | None]) -> Count | None:
    """Sum what is known; `None` where nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


@dataclass(frozen=True)
class NumberedProposal:
    """A proposal as it is marked in the page."""

    call: AgentCall
    number: int
    """Its number in what the next layer reads."""
    hue: float


def _number_proposals(run: RunRecord) -> dict[str, NumberedProposal]:
    """Number the proposals of each layer as their readers saw them."""
    sources: dict[str, NumberedProposal] = {}
    for layer in run.layers:
        answered = [call for call in layer if not call.error and call.node != AGGREGATOR]
        for number, call in enumerate(answered, 1):
            sources[call.node] = NumberedProposal(call, number, round(number * GOLDEN_ANGLE % 360))
    return sources


def _measure_influences(run: RunRecord) -> list[tuple[int, Influence]]:
    """Measure, for each layer, the last one first, which of its proposals the answer is like."""
    if not run.answer:
        return []
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for call in run.proposals:
        if not call.error:
            texts[call.layer][call.node] = call.text
    answer = run.answer.text
    return [(layer, measure_influence(answer, texts[layer])) for layer in sorted(texts)[::-1]]
