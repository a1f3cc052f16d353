"""`report`: a run as one HTML page without network requests or scripts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langgraph.types import StateSnapshot

from moa_graph.drawing.diagram import Diagram, read_diagram
from moa_graph.drawing.svg import render_svg
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.run_summary import read_run_summary
from moa_graph.models.pricing import Prices
from moa_graph.run_report import call_states
from moa_graph.run_report.columns import label_of, list_columns, title_of
from moa_graph.run_report.dissent import read_dissent
from moa_graph.run_report.failure import describe_failure
from moa_graph.run_report.influence import MIN_SHARED_WORDS
from moa_graph.run_report.notes import find_edited, list_notes
from moa_graph.run_report.picture import draw_picture
from moa_graph.run_report.prompts import MixtureGraph, find_graph_spec, read_prompts
from moa_graph.run_report.timeline import build_timeline
from moa_graph.run_report.totals import total_by_agent, total_of_run
from moa_graph.run_report.turns import ReportedTurn, choose_turn
from moa_graph.runs import formatting
from moa_graph.runs.record import RunRecord, check_state, current_turn_proposals, read_run
from moa_graph.version import __version__

if TYPE_CHECKING:
    from jinja2 import Environment

UNNAMED = "LangGraph"
"""Default name of compiled graphs."""
STYLES = ("tokens", "text", "document", "report")
"""The style sheets of the page, the later ones over the earlier ones."""


def report(
    state: Mapping[str, Any],
    graph: MixtureGraph | None = None,
    *,
    history: Iterable[StateSnapshot] = (),
    prices: Prices | None = None,
    turn: int | None = None,
) -> str:
    """Write a run as one HTML page, without network requests or scripts.

    It shows the totals of the run, its drawing beside a timeline of the calls, tokens and cost,
    the answer beside the proposals with their common wording, the differences of the proposals,
    and the prompt of each layer.

    Args:
        state: Result of the mixture, or the `values` of a `StateSnapshot` of it. The state of
            a host graph has the proposals only if `MoAState` is its schema.
        graph: The mixture, or a host that embeds it, for the layout of its prompts and its agents'
            own system prompts. Without it they are shown in the paper's layout, and said to be
            rebuilt.
        history: Result of `get_state_history` for the thread. The prompts are then read from
            the checkpoints, unchanged.
        prices: As in `draw_mermaid`.
        turn: Number of the turn, from 1, or from the end as -1; by default the last one.
            Another one needs `history`.

    Returns:
        HTML. Texts of models are escaped, and nothing in the page can run.

    Raises:
        ValueError: If the state is not one of a mixture or of this graph, or there is no
            such turn.
        ImportError: If the extra `report` is not installed.
    """
    environment = _load_templates()
    check_state(state)
    reported = choose_turn(state, list(history), turn)
    graph_spec = find_graph_spec(graph, current_turn_proposals(reported.state))
    agents = (
        [agent for layer in graph_spec.layers for agent in layer.agent_nodes] if graph_spec else []
    )
    run = read_run(reported.state, prices=prices, order=[agent.node for agent in agents])
    parts = _read_parts(run, reported, graph, graph_spec)
    return environment.get_template("page.html").render(parts)


def _read_parts(
    run: RunRecord, reported: ReportedTurn, graph: MixtureGraph | None, graph_spec: GraphSpec | None
) -> dict[str, Any]:
    """Return the data of all parts of the page."""
    from moa_graph.run_report.texts import lay_out_texts  # noqa: PLC0415  # an extra

    state, snapshots = reported.state, reported.snapshots
    edited = find_edited(run, snapshots, state)
    summary: Mapping[str, Any] = read_run_summary(run.answer) or {}
    if is_reused := bool(summary.get("reused_proposals")):
        run = _without_stored_times(run)
    diagram = read_diagram(graph, run) if graph else None
    thread_id = _find_thread_id(snapshots)
    return {
        "run": run,
        "turn": reported,
        "thread_id": thread_id,
        "origin": _describe_origin(run, graph, thread_id),
        "notes": list_notes(run, edited, snapshots),
        "failure": describe_failure(run, graph_spec, thread_id),
        "picture": draw_picture(list_columns(run, graph_spec, edited, is_reused=is_reused)),
        "drawing": render_svg(diagram) if diagram and _is_host(diagram) else None,
        "timeline": build_timeline(run),
        "agents": total_by_agent(run),
        "total": total_of_run(run),
        "texts": lay_out_texts(run, edited, is_reused=is_reused),
        "dissent": read_dissent(run, state),
        "prompts": read_prompts(run, state, graph_spec, snapshots),
        "is_reused": is_reused,
    }


def _load_templates() -> "Environment":
    """Load the templates of the page.

    Raises:
        ImportError: If the extra `report` is not installed.
    """
    try:
        import markdown_it  # noqa: F401, PLC0415  # an extra

        from moa_graph.styles.documents import load_templates  # noqa: PLC0415  # likewise
    except ImportError as error:
        raise ImportError(
            f"a report needs the package {error.name}: pip install 'moa_graph[report]'"
        ) from None
    environment = load_templates(Path(__file__).parent / "templates", STYLES)
    environment.finalize = _strip_hidden
    from moa_graph.run_report import texts  # noqa: PLC0415  # needs these packages

    environment.filters |= {
        "markdown": texts.render_text,
        "claim": texts.render_short_text,
        "label": label_of,
    }
    environment.globals |= {
        "formatting": formatting,
        "states": call_states,
        "shortest": MIN_SHARED_WORDS,
        "title_of": title_of,
        "label_of": label_of,
    }
    return environment


def _strip_hidden(value: Any) -> Any:
    """Remove hidden characters from every text of the page."""
    markup = hasattr(value, "__html__")
    return (
        formatting.strip_hidden_characters(value)
        if isinstance(value, str) and not markup
        else value
    )


def _without_stored_times(run: RunRecord) -> RunRecord:
    """Remove the times of reused proposals, which belong to an earlier call."""
    calls = [replace(c, started=None, seconds=0.0) if c.cached else c for c in run.calls]
    return replace(run, calls=calls)


def _is_host(diagram: Diagram) -> bool:
    """Return whether a graph has nodes besides the mixture of the run."""
    hosts = {node.host for node in diagram.nodes.values() if node.host is not None}
    return bool(hosts - {""})


def _find_thread_id(snapshots: Sequence[StateSnapshot]) -> str | None:
    config = snapshots[0].config["configurable"] if snapshots else {}
    return config.get("thread_id")


def _describe_origin(
    run: RunRecord, graph: MixtureGraph | None, thread_id: str | None
) -> list[str]:
    """Describe the source of the report, as far as it is known."""
    started = min((call.started for call in run.calls if call.started), default=None)
    name = getattr(graph, "name", None)
    name = None if name == UNNAMED else name
    return [
        *([f"{datetime.fromtimestamp(started, UTC):%Y-%m-%d %H:%M} UTC"] if started else []),
        *([f"mixture {name}"] if name else []),
        *([f"thread {thread_id}"] if thread_id else []),
        f"moa_graph {__version__}",
    ]
