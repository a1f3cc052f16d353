"""Graphs of layers without an aggregator, for `MoAMiddleware`."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce
from typing import Annotated, Any, NotRequired, cast, get_type_hints

from langchain_core.messages import AnyMessage
from langgraph.channels import DeltaChannel
from langgraph.graph import MessagesState
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.compiled import FairGraph
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.graph_nodes import MoAStateGraph, add_layers
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.options import Layer, LayerOptions
from moa_graph.graph.resolution import resolve_spec
from moa_graph.graph.spec import with_view
from moa_graph.graph.state import SNAPSHOT_FREQUENCY, LayerState, MoAState
from moa_graph.prompting.tool_text import describe_tools_in_text


class LayersState(MoAState):
    """Output of the graph."""

    depth: NotRequired[dict[str, DepthDecision]]
    """Depth decisions, keyed by layer aggregator; absent if there are none."""


def resolve_layers(
    layers: Sequence[Layer],
    options: LayerOptions,
    tools: Sequence[Any] = (),
    *,
    hide_tokens: bool = True,
    ends_without_quorum: bool = False,
) -> GraphSpec:
    """Resolve layers whose proposals another model reads.

    Args:
        layers: The layers of proposers.
        options: Options of the layers.
        tools: Tools of the reader, described to the proposers as text.
        hide_tokens: Whether streams leave out the tokens of proposers.
        ends_without_quorum: Whether the graph ends when a layer loses its quorum.

    Raises:
        ValueError: As `create_moa`.
    """
    spec = resolve_spec(layers, (), options, hide_proposer_tokens=hide_tokens)
    layer_specs = [
        replace(each, policy=replace(each.policy, ends_without_quorum=ends_without_quorum))
        for each in with_view(spec.layers, partial(describe_tools_in_text, tools=tools))
    ]
    return replace(spec, layers=layer_specs)


def compile_layers_graph(spec: GraphSpec, name: str) -> CompiledMoAGraph:
    """Compile a graph that takes `messages` and returns the `proposals` of the layers.

    `depth` holds the decisions about further layers, if there were any.

    The graph has no checkpointer of its own: its checkpoints belong to the node that runs it.

    Args:
        spec: The graph specification of the layers.
        name: Name of the graph.
    """
    schemas = (_with_messages_once(each) for each in (LayersState, MessagesState, LayerState))
    state, input_schema, layer_schema = schemas
    builder = MoAStateGraph(state, input_schema=input_schema)
    add_layers(builder, spec, layer_schema)
    return FairGraph.of(builder.compile(name=name))


def _join_messages(old: Any, writes: Sequence[Any]) -> Any:
    """Merge new messages, as `MessagesState` does."""
    return reduce(add_messages, writes, old)


def _with_messages_once(schema: type[Any]) -> type[Any]:
    """Copy a schema so that a run stores its conversation once, not at each superstep.

    The conversation belongs to the agent and may be long, and no layer adds to it.
    """
    messages = Annotated[
        list[AnyMessage], DeltaChannel(_join_messages, snapshot_frequency=SNAPSHOT_FREQUENCY)
    ]
    fields = get_type_hints(schema, include_extras=True) | {"messages": messages}
    return cast("type[Any]", TypedDict(schema.__name__, fields))  # type: ignore[operator]  # made anew
