"""`MoAMiddleware`: layers of proposers before the model of an agent."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import uuid4

from langchain.agents.middleware.types import (
    AgentMiddleware,
    ModelRequest,
    ModelResponse,
)
from langchain_core.messages import ToolMessage
from langchain_core.runnables import RunnableConfig
from langgraph.runtime import Runtime

from moa_graph.agents.agent_turn import (
    AgentTurn,
    AgentTurnState,
    read_agent_turn,
    turn_update,
)
from moa_graph.agents.conversation import find_last_id, find_opening_message, read_conversation
from moa_graph.agents.order import OrderCheck
from moa_graph.agents.referenced_call import ReferencedCall
from moa_graph.chat_model.proposal_source import check_consult
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.layers_graph import compile_layers_graph, resolve_layers
from moa_graph.graph.node_names import check_agent_name
from moa_graph.graph.options import MiddlewareOptions, accept_fields_in_constructor
from moa_graph.graph.reference_selection import ReferenceSelector
from moa_graph.graph.resolution import resolve_depth
from moa_graph.prompting.tokens import check_token_limit
from moa_graph.prompting.tool_text import to_openai_tool
from moa_graph.sync_async import Flow, Step, run_async, run_sync

Update = dict[str, Any] | None
Hook = Callable[..., Update]
AsyncHook = Callable[..., Awaitable[Update]]


class MoAMiddleware(AgentMiddleware[Any, Any]):
    """Layers of proposers before the model of an agent, for `create_agent` and deepagents.

    The layers run once for each message of the user, before the first call of the agent's model.
    That model writes the answers and calls the tools. It reads the proposals in each request of
    the turn. The proposals never join the conversation.

    The layers are a subgraph of the agent: they stream with `subgraphs=True`, are drawn with
    `xray=True`, and are stored under the thread of the agent. After a kill or a `QuorumError`,
    `invoke(None, config)` calls only the proposers that failed or were killed.

    `response_metadata["moa"]` of the first and the final answer of a turn holds the `RunSummary` of
    the layers. `usage_metadata` of an answer counts only the call of the agent's model.

    List it after middleware that redacts, edits or summarizes (`PIIMiddleware`,
    `SummarizationMiddleware`), because the layers read what these leave.

    Args:
        layers: The layers of proposers, as in `create_moa`. So are `quorum`, `grace`,
            `deadline`, `prompt`, `max_reference_tokens`, `max_tool_result_tokens`, `trim_history`,
            `mark_truncated`, `references_per_reader`, `order`, `include_reasoning`, `early_stop`,
            `max_cost`, `prices`, `shadow`, `lazy` and `stream_proposals`. If `early_stop` or
            `max_cost` ends the layers, the agent's model reads the proposals of the last layer that
            ran. `max_cost` is a budget for the layers, each time they run, without the agent's
            model.
        references_in: Where the proposals stand for the agent's model and further layers: by
            default after the message of the user that started the turn, between tags that their
            text cannot forge; with `"system"`, at the end of the system message.
        consult: When the layers run: `"user_turn"`, once for each message of the user;
            `"every_call"` of the agent's model; or, for a number, again after that many calls.
        on_failure: What happens when a layer loses its quorum: `"error"` raises `QuorumError`;
            with `"continue"` the agent's model answers with the proposals of the layer before, or
            with none.
        system_prompt: What the proposers are told about the agent; they do not see its own system
            prompt.
        tools: The tools of the agent, described to the proposers as text. They are not
            added to those of the agent.
        max_history_tokens: Estimated tokens of history that the proposers see; beyond them, the
            oldest turns and the oldest tool steps of the last turn are left out. `None` for no
            limit.
        name: Name of the middleware, of its nodes, and of the summary in `response_metadata`.
            Two in one agent need different names.

    Raises:
        ValueError: If an option is invalid, or as `create_moa`.
        ImportError: If LangChain's agents or a provider's package are not installed.

    Example:
        ```python
        from langchain.agents import create_agent

        middleware = MoAMiddleware([["offline:lead", "offline:bm25"]])
        agent = create_agent("openai:gpt-6.1-sol", middleware=[middleware])
        ```
    """

    state_schema = AgentTurnState

    @accept_fields_in_constructor(MiddlewareOptions)
    def __init__(self, options: MiddlewareOptions) -> None:
        _check_options(options)
        self.tools = ()
        self._options = options
        spec = resolve_layers(
            options.layers,
            options,
            [to_openai_tool(tool, strict=None) for tool in options.tools],
            hide_tokens=not options.stream_proposals,
            ends_without_quorum=options.on_failure == "continue",
        )
        self._spec = replace(spec, depth_policy=resolve_depth(options, spec))
        if not options.lazy:
            self._spec.layers[0].agent_nodes[0].build_models()
        self._selector = ReferenceSelector(is_shuffled=options.order == "shuffled")
        self._order = OrderCheck(options.name)
        graph = compile_layers_graph(self._spec, options.name)
        self._before_model, self._abefore_model = _build_hooks(graph, self._ask_layers)

    @property
    def name(self) -> str:
        """Name of the middleware and of its nodes."""
        return self._options.name

    def before_agent(self, state: AgentTurnState, runtime: Runtime[Any]) -> Update:
        """Store the id of the turn that the agent is called for."""
        return self._open_turn(state)

    async def abefore_agent(self, state: AgentTurnState, runtime: Runtime[Any]) -> Update:
        """Store the id of the turn that the agent is called for."""
        return self._open_turn(state)

    # LangGraph draws and stores a subgraph only if it is a closure variable of the node's
    # function. A method of this class would hide it.

    @property
    def before_model(self) -> Hook:
        """Run the layers if `consult` says so."""
        return self._before_model

    @property
    def abefore_model(self) -> AsyncHook:  # type: ignore[override]  # see above
        """Run the layers if `consult` says so."""
        return self._abefore_model

    def wrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], ModelResponse[Any]],
    ) -> ModelResponse[Any]:
        """Call the model with the proposals in its request."""
        call = self._refer_to_proposals(request)
        return call.add_summary(handler(call.request))

    async def awrap_model_call(
        self,
        request: ModelRequest[Any],
        handler: Callable[[ModelRequest[Any]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        """Call the model with the proposals in its request."""
        call = self._refer_to_proposals(request)
        return call.add_summary(await handler(call.request))

    def _refer_to_proposals(self, request: ModelRequest[Any]) -> ReferencedCall:
        """Put the proposals of the turn into a request."""
        turn = read_agent_turn(request.state, self.name)
        call = ReferencedCall(self.name, self._spec, self._selector, turn, request)
        if "proposals" in turn and not call.is_reused:
            self._order.check(turn, request.state)
        return call

    def _open_turn(self, state: AgentTurnState) -> Update:
        """Start a turn, unless the input is results of tools that the client ran."""
        messages = state["messages"]
        opening = find_opening_message(messages)
        opening_id = opening.id if opening else None
        turn = read_agent_turn(state, self.name)
        if opening and messages and isinstance(messages[-1], ToolMessage):
            if turn.get("opening_id") == opening_id:
                return None
        elif messages and messages[-1].type == "human":  # also after a tool result
            opening_id = messages[-1].id
        return turn_update(self.name, {"turn_id": uuid4().hex, "opening_id": opening_id})

    def _ask_layers(
        self, graph: CompiledMoAGraph, state: AgentTurnState, config: RunnableConfig
    ) -> Flow[Update]:
        """Run the layers if `consult` says so."""
        turn, consult = read_agent_turn(state, self.name), self._options.consult
        was_asked = "asked_turn_id" in turn and turn["asked_turn_id"] == turn.get("turn_id")
        if was_asked and consult != "every_call":
            steps = turn.get("steps", 0) + 1
            if isinstance(consult, str):
                return None
            if steps < consult:
                return turn_update(self.name, {"steps": steps})
        options = self._options
        messages = read_conversation(
            state,
            options.system_prompt,
            options.max_history_tokens,
            options.max_tool_result_tokens,
        )
        output = yield Step(graph.invoke, graph.ainvoke, ({"messages": messages}, config))
        agent_turn: AgentTurn = {
            "asked_turn_id": turn.get("turn_id"),
            "steps": 0,
            "proposals": output["proposals"],
            "depth": output.get("depth") or {},
            "last_read_id": find_last_id(state),
        }
        read = self._order.note(state, turn.get("opening_id"), messages)
        return turn_update(self.name, {**agent_turn, **read})


def _build_hooks(
    graph: CompiledMoAGraph, ask: Callable[..., Flow[Update]]
) -> tuple[Hook, AsyncHook]:
    """Create the sync and the async hook that run a graph."""

    def before_model(
        state: AgentTurnState,
        runtime: Runtime[Any],  # noqa: ARG001  # LangChain's signature
        config: RunnableConfig,
    ) -> Update:
        return run_sync(ask(graph, state, config))

    async def abefore_model(
        state: AgentTurnState,
        runtime: Runtime[Any],  # noqa: ARG001  # likewise
        config: RunnableConfig,
    ) -> Update:
        return await run_async(ask(graph, state, config))

    return before_model, abefore_model


def _check_options(options: MiddlewareOptions) -> None:
    check_consult(options.consult)
    check_token_limit("max_history_tokens", options.max_history_tokens)
    if options.on_failure not in {"error", "continue"}:
        raise ValueError(f"`on_failure`={options.on_failure!r}: expected 'error' or 'continue'")
    try:
        check_agent_name(options.name)
    except ValueError as error:
        raise ValueError(f"`name`: {error}") from None
