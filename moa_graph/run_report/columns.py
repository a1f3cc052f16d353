"""The stages of a run as columns of tiles: layers, aggregator, and nodes between them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import (
    AGGREGATOR,
    ANALYSIS,
    FULL,
    ROUTER,
    VOTE,
    WINDOW,
    parse_helper_role,
    parse_node_name,
)
from moa_graph.run_report.call_states import (
    LEFT_OUT,
    NOT_ANSWERED,
    NOT_ASKED,
    NOT_KNOWN,
    CallState,
    describe_call,
    read_call_state,
)
from moa_graph.run_report.wording import count_words
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

HELPER_TITLES = {WINDOW: "Windows", VOTE: "Votes", ANALYSIS: "Analysis"}


@dataclass(frozen=True)
class Tile:
    """An agent in a column."""

    name: str
    detail: str
    state: CallState
    model: str = ""
    is_critical: bool = False
    """Whether the call is on the critical path."""
    is_read: bool = True
    """Whether other agents read its text."""


@dataclass(frozen=True)
class Column:
    """A stage of parallel calls; windows are sequential."""

    title: str
    note: str
    tiles: Sequence[Tile]
    gathered: int | None = None
    """Number of texts that the node after it collects; `None` if there is no such node."""
    is_chain: bool = False
    """Whether each tile runs after the one above it."""

    @property
    def was_asked(self) -> bool:
        """Whether the stage ran."""
        return any(tile.state != NOT_ASKED for tile in self.tiles)


def list_columns(
    run: RunRecord, graph_spec: GraphSpec | None, edited: Collection[str], *, is_reused: bool
) -> list[Column]:
    """Return the stages of a run in order.

    Args:
        run: The run.
        graph_spec: The specification of its graph, with agents that did not run and quorums.
        edited: Nodes of proposals that a person edited.
        is_reused: Whether its proposals are those of an earlier call of the turn.
    """
    reader = _ColumnReader(run, graph_spec, edited, is_reused=is_reused)
    return [
        *reader.read_router(),
        *reader.read_layers(),
        *reader.read_helpers(),
        *reader.read_end(),
    ]


class _ColumnReader:
    def __init__(
        self,
        run: RunRecord,
        graph_spec: GraphSpec | None,
        edited: Collection[str],
        *,
        is_reused: bool,
    ) -> None:
        self._run, self._graph_spec, self._edited = run, graph_spec, edited
        self._is_reused = is_reused

    def read_router(self) -> Iterator[Column]:
        """Return the router, if its decision is known."""
        if self._run.depth and (route := self._run.depth.get("route")):
            model = next((c.model for c in self._run.decisions if c.node == ROUTER), "")
            words = "to the layers" if route == FULL else f"to “{route}”"
            tile = Tile("router", words, CallState("ok", "answered"), model, is_critical=True)
            yield Column("Router", "", [tile])

    def read_layers(self) -> Iterator[Column]:
        """Return the layers that ran, and one column for the skipped layers."""
        numbers = sorted({*self._run.layer_sizes, *(call.layer for call in self._run.proposals)})
        for number in numbers:
            yield self._read_layer(number)
        depth = self._run.depth
        if depth and depth["layers"] < depth["of"]:
            first, last = depth["layers"] + 1, depth["of"]
            title = f"Layer {first}" if first == last else f"Layers {first} to {last}"
            skipped = depth["skipped"]
            detail = count_words(skipped, "proposer") if skipped else ""
            yield Column(title, "", [Tile("not asked", detail, NOT_ASKED, is_read=False)])

    def _read_layer(self, number: int) -> Column:
        calls = [call for call in self._run.proposals if call.layer == number]
        answered = sum(call.error is None for call in calls)
        size = max(self._run.layer_sizes.get(number, 0), len(calls))
        tiles = [*map(self._read_call, calls), *self._list_missing(number, calls)]
        if not tiles:  # neither the state nor a graph names them
            tiles = [Tile("not known", count_words(size, "proposer"), NOT_KNOWN, is_read=False)]
        if not self._run.proposals and self._run.answer:
            return Column(f"Layer {number}", "not stored", tiles)
        note = f"{answered} of {size}"
        spec = self._graph_spec.layers if self._graph_spec else ()
        if number <= len(spec) and answered < size:
            note += f", needs {spec[number - 1].policy.required_answers(size)}"
        return Column(f"Layer {number}", note, tiles, answered)

    def _read_call(self, call: AgentCall) -> Tile:
        state = read_call_state(call, is_reused=self._is_reused)
        detail = describe_call(call, state)
        if call.node in self._edited:
            state = CallState("edit", "edited")
            detail = f"edited · {detail}"
        if call.selected:
            detail = f"{'the winner' if self._run.is_voted else 'picked'} · {detail}"
        is_stored = self._is_reused and bool(call.cached)  # not on the critical path
        is_critical = call.node in self._run.critical_path and not is_stored
        return Tile(label_of(call), detail, state, call.model, is_critical, call.error is None)

    def _list_missing(self, number: int, calls: Sequence[AgentCall]) -> Iterator[Tile]:
        if not self._graph_spec or number > len(self._graph_spec.layers):
            return
        present = {call.node for call in calls}
        state = NOT_KNOWN
        if self._run.proposals or not self._run.answer:
            state = LEFT_OUT if self._run.answer else NOT_ANSWERED
        for node in self._graph_spec.layers[number - 1].agent_nodes:
            if node.node not in present:
                yield Tile(node.name, state.word, state, node.agent.label, is_read=False)

    def read_helpers(self) -> Iterator[Column]:
        """Return the windows, the votes and the analysis."""
        calls = [call for call in self._run.calls if call.helper_role]
        for role, group in groupby(calls, lambda call: call.helper_role or ""):
            tiles = [self._read_call(call) for call in group]
            answered = sum(tile.is_read for tile in tiles)
            note = f"{answered} of {len(tiles)}" if len(tiles) > 1 else ""
            gathered = answered if role == VOTE else None
            yield Column(HELPER_TITLES[role], note, tiles, gathered, is_chain=role == WINDOW)

    def read_end(self) -> Iterator[Column]:
        """Return the aggregator, after the failed aggregators that it replaced."""
        failed = map(self._read_call, self._run.failed_writers)
        writers = [replace(tile, is_critical=False) for tile in failed]
        ends = [c for c in self._run.calls if c.node == AGGREGATOR and (c.is_timed or not writers)]
        tiles = [*writers, *map(self._read_end, ends)]
        if not tiles:
            tiles = [Tile(AGGREGATOR, NOT_ANSWERED.word, NOT_ANSWERED)]
        yield Column("Aggregator", "", tiles)

    def _read_end(self, call: AgentCall) -> Tile:
        tile = self._read_call(call)
        if picked := self._run.selected:
            verb = "the winner" if self._run.is_voted else "picked"
            tile = replace(tile, detail=f"{verb}: {picked.agent}")
        return replace(tile, is_critical=tile.is_critical and not call.error)


def title_of(call: AgentCall) -> str:
    """Return the title of a call's stage."""
    if call.node == AGGREGATOR:
        return "Aggregator"
    role = parse_helper_role(call.node)
    return HELPER_TITLES[role] if role else f"Layer {call.layer}"


def label_of(call: AgentCall) -> str:
    """Return the name of an agent in its mixture; windows have only a number."""
    return name_of(call.node) if call.helper_role == WINDOW else call.agent


def name_of(node: str) -> str:
    """Return the name of a node's agent."""
    name = parse_node_name(node)
    return name.agent if name else node.replace("_", " ")
