"""A mixture as a chat model: `ChatMoA`, for any code of LangChain's that takes one."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, closing
from typing import Any, Literal, Self

from langchain_core.callbacks import (
    AsyncCallbackManager,
    AsyncCallbackManagerForLLMRun,
    BaseCallbackManager,
    BaseRunManager,
    CallbackManager,
    CallbackManagerForLLMRun,
)
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.config import (
    ensure_config,
    get_async_callback_manager_for_config,
    get_callback_manager_for_config,
)
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_core.utils.uuid import uuid7
from pydantic import ConfigDict, PrivateAttr, SkipValidation

from moa_graph import streams
from moa_graph.aggregators import Final
from moa_graph.graph import Compiled
from moa_graph.mixture import Mixture
from moa_graph.models import Agent, Model
from moa_graph.prompts import AGGREGATE_AND_SYNTHESIZE
from moa_graph.seats import Layer

OPTIONS = (
    "layers",
    "aggregator",
    "fallbacks",
    "final",
    "quorum",
    "grace",
    "deadline",
    "prompt",
    "references_in",
    "max_reference_tokens",
    "lazy",
)
"""What is passed on to `create_moa`."""


class ChatMoA(BaseChatModel):
    """A Mixture-of-Agents as a LangChain chat model.

    The options are those of `create_moa`, with the same errors. What a call is given (`stop`,
    tools, other keyword arguments) goes to the aggregator and its fallbacks, which write the
    answer; options of proposers are those of their `Agent`.

    The answer's `usage_metadata` counts all calls of the run, and its `response_metadata["moa"]`
    says how it came about. A stream gives the aggregator's tokens as they come, and both of
    these with its last chunk.

    With tools bound, the aggregator alone can call them. Proposers read in words which tools
    there are, which were called and what came back, and say what they would do.

    Raises:
        ValueError, ImportError: As `create_moa`.

    Example:
        ```python
        moa = ChatMoA(layers=[["offline:lead", "offline:bm25"]], aggregator="offline:consensus")
        moa.invoke("Where is it? It is under the tree.").text
        ```
    """

    model_config = ConfigDict(
        arbitrary_types_allowed=True, extra="forbid", hide_input_in_errors=True
    )

    layers: SkipValidation[Sequence[Layer]]
    """As in `create_moa`: the layers of proposers, first to last."""
    aggregator: SkipValidation[Model | Agent]
    """The model that writes the answer, and calls tools."""
    fallbacks: SkipValidation[Sequence[Model | Agent]] = ()
    """Models that are asked when the aggregator fails. A stream that has begun cannot be taken
    back: when it breaks off, `stream` raises, while `invoke` has a fallback answer."""
    final: SkipValidation[Final] = "write"
    """As in `create_moa`. An aggregator that selects calls no tools."""
    quorum: SkipValidation[float | Sequence[float]] = 0.5
    """As in `create_moa`."""
    grace: SkipValidation[float | Sequence[float | None] | None] = None
    """As in `create_moa`: seconds."""
    deadline: SkipValidation[float | Sequence[float | None] | None] = None
    """As in `create_moa`: seconds."""
    prompt: SkipValidation[str] = AGGREGATE_AND_SYNTHESIZE
    """As in `create_moa`."""
    references_in: SkipValidation[Literal["system", "user"]] = "system"
    """As in `create_moa`."""
    max_reference_tokens: SkipValidation[int | None] = 16_384
    """As in `create_moa`."""
    lazy: SkipValidation[bool] = False
    """As in `create_moa`: whether models are built at the first call."""
    model_name: str = "moa"
    """What the mixture is called in traces and in `response_metadata`."""
    stop: list[str] | None = None
    """Where the answer ends, unless a call says otherwise."""
    streaming: bool = False
    """Whether `invoke` has the aggregator stream, as with other chat models."""

    _built: Mixture | None = PrivateAttr(default=None)
    _callbacks: BaseCallbackManager | None = PrivateAttr(default=None)

    def __init__(self, **options: Any) -> None:
        if unknown := options.keys() - type(self).model_fields.keys():
            raise ValueError(
                f"unknown option {min(unknown)!r}; expected some of: {', '.join(OPTIONS)}, or "
                "those of any chat model. What a model is asked with is an option of its `Agent`"
            )
        super().__init__(**options)
        _ = self._mixture

    @property
    def _mixture(self) -> Mixture:
        """What is built of the options, anew where they have changed."""
        options = {name: getattr(self, name) for name in OPTIONS}
        if self._built is None or not self._built.is_of(self.model_name, options):
            self._built = Mixture(self.model_name, options)
        return self._built

    @property
    def _llm_type(self) -> str:
        return "moa"

    @property
    def _identifying_params(self) -> dict[str, Any]:
        return {"model_name": self.model_name, "stop": self.stop, **self._mixture.identity}

    def __repr_args__(self) -> Any:
        """Name the models; what is in them is theirs to show."""
        return {"model_name": self.model_name, **self._mixture.labels}.items()

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """Bind tools for the aggregator, and its fallbacks, to call.

        Args:
            tools: Tools in any form that LangChain takes.
            tool_choice: As the aggregator's `bind_tools` takes it.
            **kwargs: What else the aggregator's `bind_tools` takes: `strict`,
                `parallel_tool_calls`, …

        Raises:
            ValueError: If the aggregator selects.
            NotImplementedError: If the aggregator or a fallback cannot be given tools. With
                `lazy`, the first call raises it.
        """
        options = {**kwargs, "tools": [_tool(tool, strict=kwargs.get("strict")) for tool in tools]}
        if tool_choice is not None:
            options["tool_choice"] = tool_choice
        if not self.lazy or self.final == "select":
            self._mixture.called_with(options)
        return self.bind(**options)

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tokens = super()._should_stream(async_api=False, run_manager=run_manager, **kwargs)
        call = self._call(messages, _children(run_manager, CallbackManager), stop, kwargs)
        for message in streams.run(*call, tokens=tokens):
            if isinstance(message, AIMessageChunk) and run_manager:
                run_manager.on_llm_new_token(message.text, chunk=_chunk(message))
        return ChatResult(generations=[ChatGeneration(message=message)])

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        tokens = super()._should_stream(async_api=True, run_manager=run_manager, **kwargs)
        call = self._call(messages, _children(run_manager, AsyncCallbackManager), stop, kwargs)
        async with aclosing(streams.arun(*call, tokens=tokens)) as running:
            async for message in running:
                if isinstance(message, AIMessageChunk) and run_manager:
                    await run_manager.on_llm_new_token(message.text, chunk=_chunk(message))
        return ChatResult(generations=[ChatGeneration(message=message)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        callbacks = _children(run_manager, CallbackManager) or self._callbacks
        call = self._call(messages, callbacks, stop, kwargs)
        with closing(streams.run(*call, tokens=True, once=True)) as running:
            for message in running:
                if isinstance(message, AIMessageChunk):
                    yield _chunk(message)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        callbacks = _children(run_manager, AsyncCallbackManager) or self._callbacks
        call = self._call(messages, callbacks, stop, kwargs)
        async with aclosing(streams.arun(*call, tokens=True, once=True)) as running:
            async for message in running:
                if isinstance(message, AIMessageChunk):
                    yield _chunk(message)

    def _should_stream(self, *, run_manager: Any = None, **options: Any) -> bool:
        """Leave it to `_generate` to stream within `invoke`: it can have a fallback answer."""
        return run_manager is None and super()._should_stream(**options)

    def stream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[AIMessageChunk]:
        """Stream as any chat model does."""
        model, config = self._begun(config, get_callback_manager_for_config)
        return super(ChatMoA, model).stream(input, config, **options)

    def astream(
        self,
        input: LanguageModelInput,  # noqa: A002  # LangChain's name
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncIterator[AIMessageChunk]:
        """Stream as any chat model does."""
        model, config = self._begun(config, get_async_callback_manager_for_config)
        return super(ChatMoA, model).astream(input, config, **options)

    def _begun(
        self,
        config: RunnableConfig | None,
        manager_of: Callable[[RunnableConfig], BaseCallbackManager],
    ) -> tuple[Self, RunnableConfig]:
        """Copy the model for one stream: LangChain does not tell `_stream` whose child it is."""
        _ = self._mixture  # is shared with the copy
        config = ensure_config(config)
        manager = manager_of(config)
        config = {**config, "callbacks": manager, "run_id": config.get("run_id") or uuid7()}
        model = self.model_copy()
        model._callbacks = manager.copy()  # noqa: SLF001  # its own
        model._callbacks.parent_run_id = config["run_id"]  # noqa: SLF001
        return model, config

    def _call(
        self,
        messages: Sequence[BaseMessage],
        callbacks: BaseCallbackManager | None,
        stop: list[str] | None,
        kwargs: Mapping[str, Any],
    ) -> tuple[Compiled, Sequence[BaseMessage], BaseCallbackManager | None]:
        """Make ready what a call with these options runs."""
        options = {key: value for key, value in kwargs.items() if key != "stream"}
        if stop := stop or self.stop:
            options["stop"] = stop
        return self._mixture.called_with(options), messages, callbacks


def _children(
    run: BaseRunManager | None, kind: type[CallbackManager | AsyncCallbackManager]
) -> BaseCallbackManager | None:
    """Make what tells of the runs inside a run; LangChain has it only for chains."""
    if run is None:
        return None
    manager = kind(handlers=[], parent_run_id=run.run_id)
    manager.set_handlers(run.inheritable_handlers)
    manager.add_tags(run.inheritable_tags)
    manager.add_metadata(run.inheritable_metadata)
    return manager


def _tool(tool: Any, *, strict: bool | None) -> Any:
    """Put a tool into OpenAI's format; what is a provider's own is left as it is."""
    own = isinstance(tool, dict) and tool.get("type") not in {None, "object"}  # no JSON schema
    if own or getattr(tool, "extras", None):
        return tool
    return convert_to_openai_tool(tool, strict=strict)


def _chunk(message: AIMessageChunk) -> ChatGenerationChunk:
    return ChatGenerationChunk(message=message)
