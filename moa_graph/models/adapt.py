"""Adapt a model for a mixture: shared connections, event loops, streaming."""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableBranch,
    RunnableConfig,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langgraph.pregel.protocol import PregelProtocol
from pydantic import SecretStr

from moa_graph.background_thread import run_in_thread
from moa_graph.models.configurable import (
    ConfigurableModel,
    default_model,
    is_configurable,
    possible_models,
)
from moa_graph.models.model_wrapper import ModelWrapper
from moa_graph.models.providers import provider_of


class ThreadedRunnable(RunnableBinding[Any, Any]):
    """A runnable without async methods, which runs in its own thread.

    The thread pool of the event loop is small, and everything shares it.
    """

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Call `invoke` in a thread."""
        return await asyncio.wrap_future(
            run_in_thread(partial(self.invoke, input, config, **kwargs))
        )

    # A binding forwards these to its runnable, which would use the threads of the event loop.
    astream, atransform = Runnable.astream, Runnable.atransform
    abatch, abatch_as_completed = Runnable.abatch, Runnable.abatch_as_completed


def adapt_model(model: Any, *, hidden: bool) -> Runnable[Any, Any]:
    """Copy a model so that it takes messages, runs in parallel, and streams only if allowed.

    Args:
        model: A chat model, a graph, or a LangChain composition of them. The inside of a graph or
            a function is not changed.
        hidden: Whether its tokens are hidden. Without this, `stream_mode="messages"` makes every
            chat model stream, even if nothing consumes the tokens.
    """

    def inner(part: Any) -> Any:
        return adapt_model(part, hidden=hidden)

    if isinstance(model, PregelProtocol):
        return RunnableLambda(_to_state) | model
    if isinstance(model, BaseChatModel):
        model = _with_shared_clients(model, hidden=hidden)
    elif is_configurable(model):
        return ConfigurableModel(model, inner)
    elif parts := _adapt_parts(model, inner):
        return model.model_copy(update=parts)  # type: ignore[no-any-return]
    elif isinstance(model, RunnableSequence):
        return RunnableSequence(*map(inner, model.steps), name=model.name)
    return ThreadedRunnable(bound=model) if _lacks_async(model) else model


def bind_call_options(model: Any, options: Mapping[str, Any]) -> Any:
    """Copy an adapted model so that its chat models are called with options.

    Args:
        model: A chat model, or a LangChain composition around one.
        options: Options of the call; `tools` and related options go to `bind_tools`.

    Raises:
        NotImplementedError: If it is not a chat model, or one without `bind_tools`.
    """
    if isinstance(model, RunnableSequence) and returns_streamed_message(model.last):
        return RunnableSequence(
            *model.steps[:-1], bind_call_options(model.last, options), name=model.name
        )
    if isinstance(model, (RunnableBindingBase, RunnableWithFallbacks)):
        update = _adapt_parts(model, partial(bind_call_options, options=options))
        if bound_options := getattr(model, "kwargs", None):  # options of the call take precedence
            update["kwargs"] = {
                key: bound_options[key] for key in bound_options.keys() - options.keys()
            }
        return model.model_copy(update=update)
    if isinstance(model, ConfigurableModel):
        bind = partial(bind_call_options, options=options)
        if model.default is not None:
            bind(model.default)  # report unsupported options now
        return model.converted(bind)
    if isinstance(model, ModelWrapper):
        return model.rewrap(bind_call_options(model.wrapped, options), options)
    if not isinstance(model, BaseChatModel):
        raise NotImplementedError(f"{type(model).__name__} is not a chat model")
    return _bind_to_chat_model(model, options)


def _bind_to_chat_model(model: BaseChatModel, options: Mapping[str, Any]) -> Any:
    own_body, body = getattr(model, "extra_body", None), options.get("extra_body")
    if own_body and body:  # keep bound options such as `max_tokens`
        options = {**options, "extra_body": {**own_body, **body}}
    if not options.get("tools"):
        return model.bind(**options)
    if type(model).bind_tools is BaseChatModel.bind_tools:
        raise NotImplementedError(f"{type(model).__name__} has no `bind_tools`")
    return model.bind_tools(**options)


def without_retries(model: Any) -> Any:
    """Copy a chat model so that its client sends each request once.

    Raises:
        ValueError: If retries cannot be disabled.
    """
    if isinstance(model, RunnableBindingBase):
        return model.model_copy(update=_adapt_parts(model, without_retries))
    if hasattr(model, "root_async_client"):
        from moa_graph.models.openai.clients import ask_once

        return ask_once(model)
    if is_configurable(model) or getattr(model, "max_retries", 0) != 0:
        raise ValueError(
            f"`hedge`: the client of {type(model).__name__} asks again by itself, and a second "
            "request would double that; set it up with `max_retries=0`, or give the model as "
            "'provider:model'"
        )
    return model


def supports_response_format(model: Any) -> bool:
    """Return whether `bind_call_options` accepts OpenAI's `response_format` for a model.

    Args:
        model: A chat model, adapted or not, or the `"provider:model"` of one that is not built.
    """
    if isinstance(model, str):
        return provider_of(model).supports_response_format
    if isinstance(model, RunnableSequence):
        return supports_response_format(model.last)
    model = unwrap_model(model)
    if isinstance(model, RunnableWithFallbacks):
        return all(map(supports_response_format, model.runnables))
    return hasattr(model, "root_async_client")  # subclasses of LangChain's ChatOpenAI


def supports_choices(model: Any) -> bool:
    """Return whether a chat model accepts `n` of OpenAI's chat completions in a call."""
    while isinstance(model, RunnableBindingBase):
        model = model.bound
    return hasattr(model, "root_async_client")  # subclasses of LangChain's ChatOpenAI


def find_api_keys(model: Any) -> list[str]:
    """Return the API keys of a model, also of one with bound options."""
    fields = getattr(unwrap_model(model), "__dict__", {}).values()
    return [each.get_secret_value() for each in fields if isinstance(each, SecretStr)]


def unwrap_model(model: Any) -> Any:
    """Return the model inside bindings, or the default model of a configurable one."""
    while True:
        if isinstance(model, RunnableBindingBase):
            model = model.bound
        elif isinstance(model, ModelWrapper):
            model = model.wrapped
        elif isinstance(model, ConfigurableModel):
            model = model.default
        elif is_configurable(model):
            model = default_model(model)
        else:
            return model


def is_chat_model_without_tools(model: Any) -> bool:
    """Return whether it is a chat model, possibly with bound options but without tools."""
    if isinstance(model, RunnableWithFallbacks):
        return any(map(is_chat_model_without_tools, model.runnables))
    while isinstance(model, RunnableBindingBase):
        if model.kwargs.get("tools"):
            return False
        model = model.bound
    return isinstance(unwrap_model(model), BaseChatModel)


def model_provider(model: Any) -> str | None:
    """Return the provider of a chat model as in `model_provider` of its answers."""
    model = unwrap_model(model)
    if hasattr(model, "root_async_client"):  # subclasses of LangChain's ChatOpenAI
        return "openai"
    package = type(model).__module__.partition(".")[0]
    return package.removeprefix("langchain_") if package.startswith("langchain_") else None


def is_chat_model(model: Any) -> bool:
    """Return whether a runnable is a single chat model, possibly with bound options."""
    model = unwrap_model(model)
    return isinstance(model, BaseChatModel) and not getattr(model, "makes_many_calls", False)


def returns_streamed_message(model: Any) -> bool:
    """Return whether a runnable returns the message that its model streams, with the same id."""
    if isinstance(model, RunnableBindingBase):
        return returns_streamed_message(model.bound)
    if isinstance(model, RunnableWithFallbacks):
        return all(map(returns_streamed_message, model.runnables))
    if isinstance(model, RunnableSequence):
        return returns_streamed_message(model.last)
    if isinstance(model, ConfigurableModel):
        return model.default is None or returns_streamed_message(model.default)
    if is_configurable(model):  # not built yet: a chat model
        return all(map(returns_streamed_message, possible_models(model)))
    return isinstance(model, (BaseChatModel, PregelProtocol))


def keep_reasoning(model: Any) -> None:
    """Make answers of a model include the reasoning that its provider returns separately."""
    model = unwrap_model(model)
    if hasattr(model, "root_async_client"):
        from moa_graph.models.openai import fast_completions

        fast_completions.keep_reasoning(model)


def _adapt_parts(model: Any, inner: Callable[[Any], Any]) -> dict[str, Any]:
    """Adapt the parts of a composition."""
    if isinstance(model, RunnableBindingBase):
        return {"bound": inner(model.bound)}
    if isinstance(model, RunnableWithFallbacks):
        first, *rest = map(inner, model.runnables)
        return {"runnable": first, "fallbacks": rest}
    if isinstance(model, RunnableParallel):
        return {"steps__": {name: inner(step) for name, step in model.steps__.items()}}
    if isinstance(model, RunnableBranch):
        branches = [(condition, inner(branch)) for condition, branch in model.branches]
        return {"branches": branches, "default": inner(model.default)}
    return {}


def _with_shared_clients(model: Any, *, hidden: bool) -> Any:
    """Copy a chat model with HTTP clients for any event loop, without streaming if hidden."""
    if hasattr(model, "root_async_client"):
        from moa_graph.models.openai.clients import share_clients

        model = share_clients(model)
        if _is_plain_chat_openai(model):
            from moa_graph.models.openai.fast_completions import use_fast_completions

            use_fast_completions(model)
    if hidden and isinstance(model, BaseChatModel):
        model = model.model_copy(update=_without_streaming(model))
    return model


def _without_streaming(model: BaseChatModel) -> dict[str, Any]:
    """Return the fields that disable streaming; `streaming` alone would still enable it."""
    streaming = {"streaming": False} if getattr(model, "streaming", None) is True else {}
    return {"disable_streaming": True, **streaming}


def _is_plain_chat_openai(model: Any) -> bool:
    """Whether a model is LangChain's own class: subclasses may read more of a response."""
    return (type(model).__module__.partition(".")[0], type(model).__name__) in {
        ("langchain_openai", "ChatOpenAI"),
        ("langchain_together", "ChatTogether"),
    }


def _to_state(messages: Any) -> dict[str, Any]:
    return {"messages": messages}


def _lacks_async(model: Runnable[Any, Any]) -> bool:
    if isinstance(model, BaseChatModel):
        return type(model)._agenerate is BaseChatModel._agenerate  # noqa: SLF001
    if isinstance(model, RunnableLambda):
        return not hasattr(model, "afunc")
    return type(model).ainvoke is Runnable.ainvoke
