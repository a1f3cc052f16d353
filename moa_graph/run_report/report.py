"""A run as one HTML page that needs nothing else: no network, no script."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from langgraph.types import StateSnapshot

from moa_graph.drawing.diagram import diagram_of_run, read_diagram
from moa_graph.drawing.svg import svg
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.models.pricing import Prices
from moa_graph.run_report.influence import (
    SHORTEST,
    Influence,
    measure_influence,
    percentages,
)
from moa_graph.run_report.prompts import Mixture, find_plan, read_prompts
from moa_graph.run_report.timeline import lay_out
from moa_graph.runs import formatting
from moa_graph.runs.record import Call, Run, read_run

GOLDEN = 137.5  # degrees: neighbours in a list get hues that are far apart


def report(
    state: Mapping[str, Any],
    graph: Mixture | None = None,
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
    try:
        from jinja2 import Environment, FileSystemLoader  # noqa: PLC0415  # an extra
    except ImportError as error:
        raise ImportError(
            f"a report needs the package {error.name}: pip install 'moa_graph[report]'"
        ) from None
    past = list(history)
    run = read_run(state, prices=prices)
    if plan := find_plan(graph, run):
        nodes = [seat.node for row in plan.rows for seat in row.seats]
        run = read_run(state, prices=prices, order=nodes)
    page = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        finalize=_visible,
    )
    page.globals |= {"words": formatting, "shortest": SHORTEST, "percentages": percentages}
    return page.get_template("page.html").render(
        run=run,
        origin=_origin(run, graph, past),
        drawing=svg(read_diagram(graph, run) if graph else diagram_of_run(run)),
        timeline=lay_out(run),
        prompts=read_prompts(run, state, graph, past),
        agents=_agents(run),
        sources=_sources(run),
        influence=_influences(run),
    )


def _visible(value: Any) -> Any:
    """Drop from every text of the page what it could hide behind."""
    markup = hasattr(value, "__html__")
    return formatting.visible(value) if isinstance(value, str) and not markup else value


def _origin(run: Run, graph: Mixture | None, past: Sequence[StateSnapshot]) -> list[str]:
    """Say what the report is of, as far as that is known."""
    begun = min((call.started for call in run.calls if call.started), default=None)
    name = getattr(graph, "name", None)
    place = past[0].config["configurable"] if past else {}
    return [
        *([f"{datetime.fromtimestamp(begun, UTC):%Y-%m-%d %H:%M} UTC"] if begun else []),
        *([f"mixture {name}"] if name else []),
        *([f"thread {place['thread_id']}"] if "thread_id" in place else []),
        f"moa_graph {version('moa_graph')}",
    ]


@dataclass(frozen=True)
class Account:
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
    counted: bool
    """Whether all that answered told their tokens."""
    complete: bool
    """Whether the cost of all that answered is known."""


def _agents(run: Run) -> list[Account]:
    calls: dict[tuple[str, str], list[Call]] = defaultdict(list)
    for call in run.calls:
        calls[call.agent, call.model].append(call)
    return [_account(each) for each in calls.values()]


def _account(calls: Sequence[Call]) -> Account:
    usages = [call.usage for call in calls if call.usage]
    costs = [call.cost for call in calls if call.cost is not None]
    return Account(
        agent=calls[0].agent,
        model=calls[0].model,
        calls=len(calls),
        answered=sum(call.error is None for call in calls),
        tokens_read=sum(usage["input_tokens"] for usage in usages) if usages else None,
        tokens_written=sum(usage["output_tokens"] for usage in usages) if usages else None,
        seconds=sum(call.seconds for call in calls),
        cost=sum(costs) if costs else None,
        counted=all(call.usage for call in calls if not call.error),
        complete=all(call.cost is not None for call in calls if not call.error),
    )


@dataclass(frozen=True)
class Source:
    """A proposal as it is marked in the page."""

    call: Call
    number: int
    """Its number in what the next layer reads."""
    hue: float


def _sources(run: Run) -> dict[str, Source]:
    """Number the proposals of each layer as their readers saw them."""
    sources: dict[str, Source] = {}
    for layer in run.layers:
        answered = [call for call in layer if not call.error and call.node != AGGREGATOR]
        for number, call in enumerate(answered, 1):
            sources[call.node] = Source(call, number, round(number * GOLDEN % 360))
    return sources


def _influences(run: Run) -> list[tuple[int, Influence]]:
    """Measure, for each layer, the last one first, which of its proposals the answer is like."""
    if not run.answer:
        return []
    texts: dict[int, dict[str, str]] = defaultdict(dict)
    for call in run.proposals:
        if not call.error:
            texts[call.layer][call.node] = call.text
    answer = run.answer.text
    return [(layer, measure_influence(answer, texts[layer])) for layer in sorted(texts)[::-1]]
