"""Capabilities of a chat model: the request parameters of OpenAI's API that it accepts."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.runnables import RunnableSequence, RunnableWithFallbacks

from moa_graph.models.adapt import supports_response_format, unwrap_model

_CHAT_COMPLETIONS_PARAMETERS = frozenset(
    ("frequency_penalty", "logprobs", "presence_penalty", "response_format", "verbosity")
)
_RESPONSES_PARAMETERS = frozenset(("response_format", "verbosity"))  # translated by LangChain
_MAX_OPENAI_STOPS = 4
_ANY_TOOLS = [{"type": "function", "function": {"name": "any"}}]


@dataclass(frozen=True)
class ModelCapabilities:
    """Capabilities of a chat model in a call."""

    calls_tools: bool = False
    """Whether tools can be bound to it."""
    parameters: frozenset[str] = frozenset()
    """Accepted request parameters that are not options of an `Agent`."""
    takes_extra_body: bool = False
    """Whether it accepts further fields of the request body as `extra_body`."""
    max_stops: int | None = None
    """Maximum number of stop strings; `None` if no limit is known."""

    def meet(self, needs: Iterable[str]) -> bool:
        """Return whether it has all capabilities: `"calls_tools"`, and names of `parameters`."""
        return self.parameters.union(["calls_tools"] * self.calls_tools).issuperset(needs)

    @property
    def is_openai_based(self) -> bool:
        """Return whether a model is a subclass of LangChain's `ChatOpenAI`."""
        return "response_format" in self.parameters


def read_capabilities(model: Any, *, with_tools: bool = False) -> ModelCapabilities:
    """Return the capabilities of a model.

    Args:
        model: A chat model, or a LangChain composition of one. Those of other runnables, such as
            graphs, are unknown.
        with_tools: Whether the call has tools: LangChain calls some OpenAI models with tools
            through the Responses API.
    """
    if isinstance(model, RunnableSequence):
        return read_capabilities(model.last, with_tools=with_tools)
    model = unwrap_model(model)
    if isinstance(model, RunnableWithFallbacks):
        each_has = [read_capabilities(each, with_tools=with_tools) for each in model.runnables]
        return _shared_capabilities(each_has)
    if not isinstance(model, BaseChatModel):
        return ModelCapabilities()
    parameters = signature(type(model).bind_tools).parameters
    capabilities = ModelCapabilities(
        calls_tools=type(model).bind_tools is not BaseChatModel.bind_tools,
        parameters=frozenset({"parallel_tool_calls"} & parameters.keys()),
    )
    if not supports_response_format(model):
        return capabilities
    return _add_openai_parameters(capabilities, model, with_tools=with_tools)


def _add_openai_parameters(
    capabilities: ModelCapabilities, model: Any, *, with_tools: bool
) -> ModelCapabilities:
    """Add the parameters that a subclass of LangChain's `ChatOpenAI` accepts in a call."""
    from langchain_openai import AzureChatOpenAI

    from moa_graph.models.openai.compatible import is_openai_address

    if model._use_responses_api({"tools": _ANY_TOOLS} if with_tools else {}):  # noqa: SLF001  # it is said nowhere else
        return replace(capabilities, parameters=capabilities.parameters | _RESPONSES_PARAMETERS)
    parameters = capabilities.parameters | _CHAT_COMPLETIONS_PARAMETERS
    address = str(getattr(model.root_async_client, "base_url", "")) or None
    if is_openai_address(address) or isinstance(model, AzureChatOpenAI):
        max_stops: int | None = _MAX_OPENAI_STOPS
    else:
        parameters, max_stops = parameters | {"top_k"}, None
    return replace(capabilities, parameters=parameters, takes_extra_body=True, max_stops=max_stops)


def _shared_capabilities(each_has: list[ModelCapabilities]) -> ModelCapabilities:
    limits = [each.max_stops for each in each_has if each.max_stops is not None]
    return ModelCapabilities(
        calls_tools=all(each.calls_tools for each in each_has),
        parameters=frozenset.intersection(*(each.parameters for each in each_has)),
        takes_extra_body=all(each.takes_extra_body for each in each_has),
        max_stops=min(limits, default=None),
    )
