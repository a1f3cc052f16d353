"""`ChatMoA`: a mixture as a LangChain chat model."""

from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackManager,
    BaseRunManager,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput, ModelProfile
from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)
from langchain_core.tools import BaseTool
from langchain_core.utils.uuid import uuid7
from pydantic import BaseModel, ConfigDict, PrivateAttr, field_validator

from moa_graph.chat_model import streaming, structured_output
from moa_graph.chat_model.caller import CallerScope
from moa_graph.chat_model.graphs import CompiledGraphCache
from moa_graph.chat_model.proposal_source import (
    GroupProposalSource,
    ProposalSource,
    TurnProposalSource,
    check_consult,
    check_proposal_cache,
)
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.chat_model.turns import find_turn_ending_tools, read_user_turn
from moa_graph.deprecated import OldOptionAttributes, rename_options
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.options import ChatModelOptions, ConsultOptions
from moa_graph.prompting.tokens import count_message_tokens, count_tokens
from moa_graph.prompting.tool_text import describe_tools_in_text, to_openai_tool
from moa_graph.sync_async import (
    Flow,
    Step,
    StreamFlow,
    iterate_async,
    iterate_sync,
    run_async,
    run_sync,
)
from moa_graph.validation_errors import suggest_name

RunManager = CallbackManagerForLLMRun | AsyncCallbackManagerForLLMRun


class ChatMoA(ChatModelOptions, ConsultOptions, OldOptionAttributes, BaseChatModel):
    """A Mixture-of-Agents as a LangChain chat model.

    The options are those of `create_moa`, with the same errors. Options of a call (`stop`, tools,
    other keyword arguments) apply to the aggregator and its fallbacks. To set options of a
    proposer, use its `Agent`.

    `usage_metadata` of the answer counts all calls of the run, and `response_metadata["moa"]` is
    the `RunSummary`. A stream yields the tokens of the aggregator, and has both in its last chunk.

    Only the aggregator calls bound tools. Proposers read a description of the tools, the calls and
    their results as text, and propose what to do.

    Args:
        consult: When the proposers are called: `"user_turn"`, once for each message of the user,
            and calls with tool results reuse their proposals; `"every_call"`; or, for a number,
            again after that many tool steps.
        proposal_cache: A LangGraph cache in which other processes find the proposals of a turn, if
            all proposers are `"provider:model"` strings or chat models that LangChain can
            serialize.

    Raises:
        ValueError, ImportError: As `create_moa`.

    Example:
        ```python
        moa = ChatMoA(layers=[["offline:lead", "offline:bm25"]], aggregator="offline:consensus")
        moa.invoke("Where is it? It is under the tree.").text
        ```
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True, defer_build=False
    )

    makes_many_calls: ClassVar[bool] = True
    """Why `timeout` of a chat model is rejected: each call has its own timeout."""

    model_name: str = "moa"
    """Name of the mixture in traces and in `response_metadata`."""
    stop: list[str] | None = None
    """Strings at which the answer ends; a call can set others."""
    streaming: bool = False
    """Whether `invoke` streams the aggregator's answer, as in other chat models."""

    _built_graphs: CompiledGraphCache | None = PrivateAttr(default=None)
    _stream_callbacks: BaseCallbackManager | None = PrivateAttr(default=None)
    _caller: CallerScope | None = PrivateAttr(default=None)
    _turn_ending_tools: frozenset[str] = PrivateAttr(default=frozenset())

    if not TYPE_CHECKING:  # type checkers derive the constructor from the fields

        def __init__(self, layers: Any = None, aggregator: Any = None, **options: Any) -> None:
            options = rename_options(options) | {"layers": layers, "aggregator": aggregator}
            _check_option_names(options, type(self).model_fields)
            check_consult(options.get("consult", "user_turn"))
            check_proposal_cache(options.get("proposal_cache"))
            super().__init__(**options)
            _ = self._graph_cache

    @field_validator(*ChatModelOptions.model_fields, *ConsultOptions.model_fields, mode="wrap")
    @classmethod
    def _keep_option(cls, value: Any, _: Any) -> Any:
        """Skip pydantic's validation: the constructor and `create_moa` check the option."""
        return value

    @property
    def _graph_cache(self) -> CompiledGraphCache:
        """Objects built from the options; rebuilt if an option has changed."""
        options = {name: getattr(self, name) for name in ChatModelOptions.model_fields}
        if self._built_graphs is None or not self._built_graphs.was_built_from(
            self.model_name, options
        ):
            self._built_graphs = CompiledGraphCache(self.model_name, options)
        return self._built_graphs

    def _resolve_model_profile(self) -> ModelProfile | None:
        """Return the model profile; LangChain calls this in the constructor."""
        return self._graph_cache.profile

    @property
    def _llm_type(self) -> str:
        return "moa"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        identity = {"model_name": self.model_name, "stop": self.stop, **self._graph_cache.identity}
        if self.consult != "user_turn":  # older cache entries stay valid
            identity["consult"] = self.consult
        if self._graph_cache.is_configurable:  # the config changes the answer
            identity["configurable"] = (self._caller or CallerScope.read()).shaping_values
        return identity

    def __repr_args__(self) -> Any:
        """Show the name and the models, without the options of the models."""
        return {"model_name": self.model_name, **self._graph_cache.labels}.items()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools that the aggregator and its fallbacks can call.

        Args:
            tools: Tools in any form that LangChain accepts.
            tool_choice: As in the aggregator's `bind_tools`.
            **kwargs: Other arguments of the aggregator's `bind_tools`: `strict`,
                `parallel_tool_calls`, …

        Raises:
            ValueError: If the mixture picks a proposal, and so cannot call tools.
            NotImplementedError: If the aggregator or a fallback does not accept tools. With
                `lazy`, the first call raises it.
        """
        options = {
            **kwargs,
            "tools": [to_openai_tool(tool, strict=kwargs.get("strict")) for tool in tools],
        }
        if tool_choice is not None:
            options["tool_choice"] = tool_choice
        if not self.lazy or self._graph_cache.picks_proposal:
            self._graph_cache.graph_for_call(options)
        return self._with_turn_ending_tools(find_turn_ending_tools(tools)).bind(**options)

    def with_structured_output(
        self,
        schema: dict[str, Any] | type,
        *,
        method: str = "function_calling",
        include_raw: bool = False,
        strict: bool | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, dict[str, Any] | BaseModel]:
        """Return a runnable whose answer matches a schema.

        Args:
            schema: A class or a JSON schema, as in LangChain.
            method: `"function_calling"`: the aggregator calls a tool, and proposers read its
                schema. `"json_schema"`: the provider enforces the schema.
                `"json_mode"`: it enforces JSON, and the prompt describes which. The last two are
                for models of OpenAI's interface (`openai:`, `together:`).
            include_raw: Whether to return `raw`, `parsed` and `parsing_error`.
            strict: Whether the provider must follow the schema exactly. By default,
                `"json_schema"` does so for a pydantic class.
            **kwargs: Not accepted.

        Raises:
            ValueError: If there is no such method, or the aggregator or a fallback does not support
                it.
        """
        structured_output.check_structured_output_options(method, strict, kwargs)
        trace = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
        if method == "function_calling":
            options = {} if strict is None else {"strict": strict}
            model = self.bind_tools(
                [schema], tool_choice="any", ls_structured_output_format=trace, **options
            )
        else:
            self._graph_cache.check_structured_output_method(method)
            form = structured_output.build_response_format(schema, method, strict=strict)
            model = self.bind(response_format=form, ls_structured_output_format=trace)
        return structured_output.with_output_parser(model, schema, method, include_raw=include_raw)

    def _with_turn_ending_tools(self, names: frozenset[str]) -> Self:
        """Copy the model for tools whose result the user reads, if there are any."""
        if not names:
            return self
        _ = self._graph_cache  # shared with the copy
        model = self.model_copy()
        model._turn_ending_tools = names  # noqa: SLF001  # its own
        return model

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Copy the model; the copy shares the proposal cache."""
        memo = {} if memo is None else memo
        memo[id(self.proposal_cache)] = self.proposal_cache
        return super().__deepcopy__(memo)

    def get_token_ids(self, text: str) -> list[int]:
        """Tokenize a text with `custom_get_token_ids` of the mixture or of its aggregator.

        Raises:
            NotImplementedError: If neither is set.
        """
        if tokenize := self._token_id_function:
            return tokenize(text)
        raise NotImplementedError(
            "a mixture has no tokenizer; expected `custom_get_token_ids`=…, a function "
            "from a text to its tokens. `get_num_tokens` estimates their number"
        )

    def get_num_tokens(self, text: str) -> int:
        """Count the tokens of a text.

        The count is an estimate unless the mixture or its aggregator has a `custom_get_token_ids`:
        the methods of providers download a tokenizer or call a server.
        """
        return len(self.get_token_ids(text)) if self._token_id_function else count_tokens(text)

    def get_num_tokens_from_messages(
        self, messages: Sequence[BaseMessage], tools: Sequence[Any] | None = None
    ) -> int:
        """Count the tokens of a conversation as proposers read it, with calls and results.

        References are not counted; they are truncated to fit. See `get_num_tokens`.
        """
        text_messages = describe_tools_in_text(cast("list[AnyMessage]", messages), tools or ())
        return count_message_tokens(text_messages, self.get_num_tokens)

    @property
    def _token_id_function(self) -> Callable[[str], list[int]] | None:
        return self.custom_get_token_ids or self._graph_cache.tokenizer

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return run_sync(self._generate_answer(messages, stop, run_manager, kwargs, async_api=False))

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return await run_async(
            self._generate_answer(messages, stop, run_manager, kwargs, async_api=True)
        )

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        flow = self._stream_answer(messages, stop, run_manager, kwargs, async_api=False)
        return iterate_sync(flow)

    def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        flow = self._stream_answer(messages, stop, run_manager, kwargs, async_api=True)
        return iterate_async(flow)

    def _generate_answer(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        run_manager: RunManager | None,
        kwargs: Mapping[str, Any],
        *,
        async_api: bool,
    ) -> Flow[ChatResult]:
        """Return the whole answer; report each chunk to a handler that streams within `invoke`."""
        streams = super()._should_stream(async_api=async_api, run_manager=run_manager, **kwargs)
        message = yield from self._run(
            messages,
            stop,
            _child_callback_manager(run_manager, async_api=async_api),
            kwargs,
            async_api=async_api,
            emit=partial(_report_chunk, run_manager) if run_manager and streams else None,
        )
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream_answer(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        run_manager: RunManager | None,
        kwargs: Mapping[str, Any],
        *,
        async_api: bool,
    ) -> StreamFlow[ChatGenerationChunk]:
        """Yield the chunks of the answer."""
        callbacks = _child_callback_manager(run_manager, async_api=async_api)
        return self._run(
            messages,
            stop,
            callbacks or self._stream_callbacks,
            kwargs,
            async_api=async_api,
            emit=_to_generation_chunk,
            single_writer=True,
        )

    def _run(
        self,
        messages: Sequence[BaseMessage],
        stop: list[str] | None,
        callbacks: BaseCallbackManager | None,
        kwargs: Mapping[str, Any],
        **how: Any,
    ) -> Generator[Any, Any, AIMessage]:
        """Run the graph with new proposals, or with those of an earlier call of the turn."""
        options = {key: value for key, value in kwargs.items() if key != "stream"}
        if stop := stop or self.stop:
            options["stop"] = stop
        caller = self._caller or CallerScope.read()

        def find_graph(source: ProposalSource) -> CompiledMoAGraph:
            is_reused = source.is_reused
            graph = self._graph_cache.graph_for_call(options, reuses_proposals=is_reused)
            return caller.with_store(graph)

        source = self._find_proposal_source(messages, caller)
        return streaming.run_graph(find_graph, messages, callbacks, caller, source, **how)

    def _find_proposal_source(
        self, messages: Sequence[BaseMessage], caller: CallerScope
    ) -> ProposalSource:
        group, spec = caller.call_group, self._graph_cache.spec
        if self.consult == "every_call":
            return GroupProposalSource(spec, group) if group else ProposalSource()
        turn = read_user_turn(messages, self._turn_ending_tools)
        store = self._graph_cache.proposal_store(self.proposal_cache)
        keys = TurnKeys(turn, caller)
        return TurnProposalSource(self.consult, keys, store, spec, group)

    def _should_stream(self, *, run_manager: Any = None, **options: Any) -> bool:
        """Let `_generate` stream within `invoke`, because it can use a fallback answer."""
        return run_manager is None and super()._should_stream(**options)

    def invoke(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AIMessage:
        """Return the answer; see `BaseChatModel.invoke`."""
        return super(ChatMoA, self._with_caller(config)).invoke(input, config, **options)

    async def ainvoke(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AIMessage:
        """Return the answer; see `BaseChatModel.ainvoke`."""
        return await super(ChatMoA, self._with_caller(config)).ainvoke(input, config, **options)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream the answer; see `BaseChatModel.stream`."""
        model, config = self._with_run_manager(config, get_callback_manager_for_config)
        return super(ChatMoA, model).stream(input, config, **options)

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream the answer; see `BaseChatModel.astream`."""
        model, config = self._with_run_manager(config, get_async_callback_manager_for_config)
        return super(ChatMoA, model).astream(input, config, **options)

    def _with_caller(self, config: RunnableConfig | None) -> Self:
        """Copy the model for one call: LangChain does not pass the config to `_generate`."""
        _ = self._graph_cache  # shared with the copy
        model = self.model_copy()
        model._caller = CallerScope.read(config)  # noqa: SLF001  # its own
        return model

    def _with_run_manager(
        self,
        config: RunnableConfig | None,
        get_manager: Callable[[RunnableConfig], BaseCallbackManager],
    ) -> tuple[Self, RunnableConfig]:
        """Copy the model for one stream: LangChain does not tell `_stream` its parent run."""
        config = ensure_config(config)
        manager = get_manager(config)
        config = {**config, "callbacks": manager, "run_id": config.get("run_id") or uuid7()}
        model = self._with_caller(config)
        model._stream_callbacks = manager.copy()  # noqa: SLF001  # its own
        model._stream_callbacks.parent_run_id = config["run_id"]  # noqa: SLF001
        return model, config


def _check_option_names(options: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    for name in ("layers", "aggregator"):
        if options[name] is None:
            raise ValueError(
                f"`{name}` is missing; expected `layers` and `aggregator`, as in "
                "ChatMoA([['openai:gpt-6.1-sol', 'openai:gpt-6.1-terra']], 'openai:gpt-6.1-sol')"
            )
    if unknown := options.keys() - fields.keys():
        name = min(unknown)
        raise ValueError(
            f"unknown option {name!r}{suggest_name(name, fields)}; expected one of: "
            f"{', '.join(ChatModelOptions.model_fields | ConsultOptions.model_fields)}, or "
            "an option of any chat model. Options of a single model belong to its `Agent`"
        )


def _child_callback_manager(
    run: BaseRunManager | None, *, async_api: bool
) -> BaseCallbackManager | None:
    """Create the callback manager for child runs; LangChain has it only for chains."""
    if run is None:
        return None
    manager_class = AsyncCallbackManager if async_api else CallbackManager
    manager = manager_class(handlers=[], parent_run_id=run.run_id)
    manager.set_handlers(run.inheritable_handlers)
    manager.add_tags(run.inheritable_tags)
    manager.add_metadata(run.inheritable_metadata)
    return manager


def _report_chunk(run_manager: Any, message: AIMessageChunk) -> Step:
    """Create the step that reports a chunk to a sync or async run manager."""
    report = partial(run_manager.on_llm_new_token, chunk=_to_generation_chunk(message))
    return Step(report, report, (message.text,))


def _to_generation_chunk(message: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message)
