"""What a chat model can be asked for in a call, in the words of OpenAI's chat completions."""

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
_RESPONSES_PARAMETERS = frozenset(("response_format", "verbosity"))  # LangChain translates them
_ANY_TOOLS = [{"type": "function", "function": {"name": "any"}}]


@dataclass(frozen=True)
class ModelCapabilities:
    """What a chat model can be asked for in a call."""

    calls_tools: bool = False
    """Whether it can be given tools."""
    parameters: frozenset[str] = frozenset()
    """Parameters of a request that it takes beside the options of an `Agent`."""
    takes_extra_body: bool = False
    """Whether what is to stand in the body of its request can be given as `extra_body`."""

    def meet(self, needs: Iterable[str]) -> bool:
        """Whether it is capable of all of: `"calls_tools"`, and names of `parameters`."""
        return self.parameters.union(["calls_tools"] * self.calls_tools).issuperset(needs)

    @property
    def is_openai_based(self) -> bool:
        """Whether it is built upon LangChain's `ChatOpenAI`."""
        return "response_format" in self.parameters


def read_capabilities(model: Any, *, with_tools: bool = False) -> ModelCapabilities:
    """Tell what a model can be asked for.

    Args:
        model: A chat model, or what LangChain's own means have made of one. Of others, such as
            graphs, nothing is known.
        with_tools: Whether the call has tools: some models of OpenAI are then asked by its
            Responses API.
    """
    if isinstance(model, RunnableSequence):
        return read_capabilities(model.last, with_tools=with_tools)
    model = unwrap_model(model)
    if isinstance(model, RunnableWithFallbacks):
        each_has = [read_capabilities(each, with_tools=with_tools) for each in model.runnables]
        return _shared_capabilities(each_has)
    if not isinstance(model, BaseChatModel):
        return ModelCapabilities()
    known = signature(type(model).bind_tools).parameters
    capabilities = ModelCapabilities(
        calls_tools=type(model).bind_tools is not BaseChatModel.bind_tools,
        parameters=frozenset({"parallel_tool_calls"} & known.keys()),
    )
    if not supports_response_format(model):
        return capabilities
    return _add_openai_parameters(capabilities, model, with_tools=with_tools)


def _add_openai_parameters(
    capabilities: ModelCapabilities, model: Any, *, with_tools: bool
) -> ModelCapabilities:
    """Add what a model takes in a call that is built upon LangChain's `ChatOpenAI`."""
    from langchain_openai import AzureChatOpenAI  # noqa: PLC0415  # loaded with the model

    from moa_graph.models.openai.compatible import is_openai_address  # noqa: PLC0415  # likewise

    if model._use_responses_api({"tools": _ANY_TOOLS} if with_tools else {}):  # noqa: SLF001  # it is said nowhere else
        return replace(capabilities, parameters=capabilities.parameters | _RESPONSES_PARAMETERS)
    parameters = capabilities.parameters | _CHAT_COMPLETIONS_PARAMETERS
    address = str(getattr(model.root_async_client, "base_url", "")) or None
    if not is_openai_address(address) and not isinstance(model, AzureChatOpenAI):
        parameters |= {"top_k"}
    return replace(capabilities, parameters=parameters, takes_extra_body=True)


def _shared_capabilities(each_has: list[ModelCapabilities]) -> ModelCapabilities:
    return ModelCapabilities(
        calls_tools=all(each.calls_tools for each in each_has),
        parameters=frozenset.intersection(*(each.parameters for each in each_has)),
        takes_extra_body=all(each.takes_extra_body for each in each_has),
    )
