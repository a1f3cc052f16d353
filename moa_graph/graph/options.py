"""The options of a mixture: their names, types and defaults.

`create_moa`, `ChatMoA` and `MoAConfig` take them from here; what each does is said in the
docstring of `create_moa`. An option of all three is a field of `SharedOptions`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from functools import wraps
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from moa_graph.models.agent import Agent, Model

if TYPE_CHECKING:
    from langgraph.cache.base import BaseCache
    from langgraph.types import CachePolicy

    AnswerCachePolicy = CachePolicy[Any]
    ProposalCache = BaseCache[Any]
else:
    AnswerCachePolicy = ProposalCache = Any  # the names alone cost no import of LangGraph

P = ParamSpec("P")
T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound=BaseModel)

Aggregation = Literal["synthesize", "select"]
Consult = Literal["user_turn", "every_call"] | int
Layer = Mapping[str, Model | Agent] | Sequence[Model | Agent]
Number = StrictInt | StrictFloat
"""An `int` stays one: a quorum of 1 is a proposer, one of 1.0 is all of them."""


class SharedOptions(BaseModel):
    """Options of `create_moa`, of `ChatMoA` and of a configuration."""

    aggregation: Aggregation = "synthesize"
    quorum: Number | Sequence[Number] = 0.5
    grace: Number | Sequence[Number | None] | None = None
    deadline: Number | Sequence[Number | None] | None = None
    prompt: str | None = Field(default=None, min_length=1)
    references_in: Literal["system", "user"] = "system"
    max_reference_tokens: int | None = Field(default=16_384, ge=1, strict=True)
    max_tool_result_tokens: int | None = Field(default=65_536, ge=1, strict=True)
    trim_history: bool = Field(default=False, strict=True)
    mark_truncated: bool = Field(default=False, strict=True)


class ModelOptions(BaseModel):
    """The models of a mixture, by name or as objects; `help` shows the first two first."""

    model_config = ConfigDict(defer_build=True)

    layers: Sequence[Layer] = Field(kw_only=False)
    aggregator: Model | Agent = Field(kw_only=False)
    fallbacks: Sequence[Model | Agent] = ()


class ChatModelOptions(SharedOptions, ModelOptions):
    """Options of `create_moa` and of `ChatMoA`."""

    lazy: bool = False


class ConsultOptions(BaseModel):
    """Options of `ChatMoA` alone, whose docstring says what each does."""

    consult: Consult = "user_turn"
    proposal_cache: ProposalCache | None = Field(default=None, exclude=True)


class GraphOptions(ChatModelOptions):
    """Options of `create_moa`."""

    stream_proposals: bool = False
    cache_policy: AnswerCachePolicy | None = None


def accept_fields(
    options_class: Callable[P, OptionsT],
) -> Callable[[Callable[[OptionsT], T]], Callable[P, T]]:
    """Have a function of an options object take the fields of the object as its arguments.

    The values are not validated: the function says what is wrong with them. It is called with
    the arguments that `help` and editors show, and raises a `TypeError` for others.
    """
    fields = cast("type[OptionsT]", options_class)
    parameters = _build_parameters(fields)

    def decorate(function: Callable[[OptionsT], T]) -> Callable[P, T]:
        signature = Signature(parameters, return_annotation=get_type_hints(function)["return"])

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            for name in kwargs.keys() - fields.model_fields.keys():
                hint = suggest_name(name, fields.model_fields) or _describe_agent_option(name)
                raise TypeError(
                    f"{function.__name__}() got an unexpected keyword argument {name!r}"
                    f"{hint}; expected some of: {', '.join(fields.model_fields)}"
                )
            try:
                arguments = signature.bind(*args, **kwargs).arguments
            except TypeError as error:
                raise TypeError(f"{function.__name__}(): {error}") from None
            return function(fields.model_construct(**arguments))

        del call.__wrapped__  # its signature is another one
        call.__signature__ = signature  # type: ignore[attr-defined]  # of any callable
        call.__annotations__ = {each.name: each.annotation for each in parameters}
        call.__annotations__["return"] = signature.return_annotation
        return call

    return decorate


def suggest_name(name: str, names: Iterable[str]) -> str:
    """Ask whether a name that is close to an unknown one was meant; nothing if none is."""
    close = get_close_matches(name, names, 1, cutoff=0.7)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _describe_agent_option(name: str) -> str:
    """Say where an option of agents belongs; nothing of other names."""
    if name not in Agent.model_fields:
        return ""
    return f" (an option of each agent: Agent(model='provider:model', {name}=...))"


def _build_parameters(options_class: type[BaseModel]) -> list[Parameter]:
    """Make the parameters of a function that takes the fields of a class."""
    types = get_type_hints(options_class)
    parameters = [
        Parameter(
            name,
            Parameter.POSITIONAL_OR_KEYWORD if field.kw_only is False else Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.is_required() else field.default,
            annotation=types[name],
        )
        for name, field in options_class.model_fields.items()
    ]
    return sorted(parameters, key=lambda parameter: parameter.kind)
