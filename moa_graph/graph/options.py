"""Options of a mixture: names, types and defaults.

`create_moa`, `ChatMoA`, `MoAMiddleware` and `MoAConfig` share these definitions. The docstring of
`create_moa` documents them. An option of `create_moa`, `ChatMoA` and `MoAConfig` is a field of
`SharedOptions`.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import Parameter, Signature
from typing import (
    TYPE_CHECKING,
    Any,
    Concatenate,
    Literal,
    ParamSpec,
    TypeVar,
    cast,
    get_type_hints,
)

from pydantic import BaseModel, ConfigDict, Field, StrictFloat, StrictInt

from moa_graph.models.agent import Agent, Model
from moa_graph.validation_errors import find_near_name, suggest_name

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable
    from langgraph.cache.base import BaseCache
    from langgraph.types import CachePolicy

    from moa_graph.graph.router import Router
    from moa_graph.graph.state import Proposal

    AnswerCachePolicy = CachePolicy[Any]
    ProposalCache = BaseCache[Any]
    RouterOption = Router
    EarlyStop = float | Callable[[Sequence[Proposal]], Any] | Runnable[Any, Any]
else:
    # Only for type checkers: importing LangGraph is slow.
    AnswerCachePolicy = ProposalCache = EarlyStop = RouterOption = Any

P = ParamSpec("P")
T = TypeVar("T")
OptionsT = TypeVar("OptionsT", bound=BaseModel)

Aggregation = Literal["synthesize", "select", "sequential", "vote"]
ReferenceOrder = Literal["configured", "shuffled"]
Consult = Literal["user_turn", "every_call"] | int
OnFailure = Literal["error", "continue"]
Layer = Mapping[str, Model | Agent] | Sequence[Model | Agent]
Number = StrictInt | StrictFloat
"""A number or a share, without coercion: 1 is one proposer, 1.0 is all of them."""


class NoLayers(tuple[Layer, ...]):
    """The layers of a single model; a user cannot pass this type by mistake."""

    __slots__ = ()


NO_LAYERS = NoLayers()

LATER_OPTIONS = frozenset(
    {
        "references_per_reader",
        "order",
        "include_reasoning",
        "references_per_window",
        "finalists",
        "early_stop",
        "router",
        "max_cost",
        "prices",
        "shadow",
        "analysis_only",
    }
)
"""Options that cache keys omit if they have their default, so that keys from before these options
existed stay valid."""


class LayerOptions(BaseModel):
    """Options of layers of proposers."""

    quorum: Number | Sequence[Number] = 0.5
    grace: Number | Sequence[Number | None] | None = None
    deadline: Number | Sequence[Number | None] | None = None
    prompt: str | None = Field(default=None, min_length=1)
    references_in: Literal["system", "user"] = "system"
    max_reference_tokens: int | None = Field(default=16_384, ge=1, strict=True)
    max_tool_result_tokens: int | None = Field(default=65_536, ge=1, strict=True)
    trim_history: bool = Field(default=False, strict=True)
    mark_truncated: bool = Field(default=False, strict=True)
    references_per_reader: int | None = Field(default=None, ge=1, strict=True)
    order: ReferenceOrder = "configured"
    include_reasoning: bool = Field(default=False, strict=True)


class DepthOptions(BaseModel):
    """Options for the number of layers that run."""

    early_stop: EarlyStop | None = None
    max_cost: float | None = None
    prices: Mapping[str, Sequence[float]] = Field(default={})
    shadow: bool = Field(default=False, strict=True)


class AggregationOptions(BaseModel):
    """Options of the aggregator."""

    aggregation: Aggregation = "synthesize"
    references_per_window: int = Field(default=3, ge=1, strict=True)
    finalists: int = Field(default=1, ge=1, strict=True)
    analysis_only: bool = Field(default=False, strict=True)


class SharedOptions(DepthOptions, LayerOptions, AggregationOptions):
    """Options of `create_moa`, `ChatMoA` and `MoAConfig`."""

    router: RouterOption | None = None


class ProposerOptions(BaseModel):
    """The proposers, by name or as objects."""

    model_config = ConfigDict(defer_build=True)

    layers: Sequence[Layer] = Field(kw_only=False)


class ModelOptions(ProposerOptions):
    """The models of a mixture, by name or as objects; `help` shows the first two fields first."""

    aggregator: Model | Agent = Field(kw_only=False)
    fallbacks: Sequence[Model | Agent] = ()
    voters: Layer | None = None
    analysis: bool | Model | Agent = False


class ChatModelOptions(SharedOptions, ModelOptions):
    """Options of `create_moa` and of `ChatMoA`."""

    lazy: bool = False


class TurnOptions(BaseModel):
    """When the proposers are called in a tool loop."""

    consult: Consult = "user_turn"


class ConsultOptions(TurnOptions):
    """Options of `ChatMoA` that `create_moa` does not have."""

    proposal_cache: ProposalCache | None = Field(default=None, exclude=True)


class MiddlewareOptions(TurnOptions, DepthOptions, LayerOptions, ProposerOptions):
    """Options of `MoAMiddleware`."""

    references_in: Literal["system", "user"] = "user"
    on_failure: OnFailure = "error"
    system_prompt: str | None = None
    tools: Sequence[Any] = ()
    max_history_tokens: int | None = 65_536
    lazy: bool = False
    stream_proposals: bool = False
    name: str = "moa"


class GraphOptions(ChatModelOptions):
    """Options of `create_moa`."""

    stream_proposals: bool = False
    cache_policy: AnswerCachePolicy | None = None


def accept_fields(
    options_class: Callable[P, OptionsT],
) -> Callable[[Callable[[OptionsT], T]], Callable[P, T]]:
    """Decorate a function of an options object so that it takes the fields as arguments.

    The values are not validated here, because the function reports invalid ones. `help` and editors
    show the fields as arguments, and other arguments raise a `TypeError`.
    """
    fields = cast("type[OptionsT]", options_class)

    def decorate(function: Callable[[OptionsT], T]) -> Callable[P, T]:
        returned = get_type_hints(function)["return"]
        signature = Signature(_build_parameters(fields), return_annotation=returned)

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            return function(_read_options(fields, signature, function.__name__, args, kwargs))

        _set_signature(call, signature)
        return call

    return decorate


def accept_fields_in_constructor(
    options_class: Callable[P, OptionsT],
) -> Callable[[Callable[[Any, OptionsT], None]], Callable[Concatenate[Any, P], None]]:
    """Decorate an `__init__` with an options object so that it takes the fields."""
    fields = cast("type[OptionsT]", options_class)

    def decorate(
        constructor: Callable[[Any, OptionsT], None],
    ) -> Callable[Concatenate[Any, P], None]:
        parameters = _build_parameters(fields)

        @wraps(constructor)
        def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> None:
            name = type(self).__name__
            constructor(self, _read_options(fields, Signature(parameters), name, args, kwargs))

        this = Parameter("self", Parameter.POSITIONAL_ONLY)
        _set_signature(call, Signature([this, *parameters]))
        return call

    return decorate


def _read_options(
    fields: type[OptionsT],
    signature: Signature,
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> OptionsT:
    """Create an options object from the arguments of a call.

    Raises:
        TypeError: If an argument is not a field.
    """
    for option in kwargs.keys() - fields.model_fields.keys():
        hint = suggest_name(option, fields.model_fields) or _describe_agent_option(option)
        raise TypeError(
            f"{name}() got an unexpected keyword argument {option!r}"
            f"{hint}; expected one of: {', '.join(fields.model_fields)}"
        )
    try:
        arguments = signature.bind(*args, **kwargs).arguments
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None
    return fields.model_construct(**arguments)


def _set_signature(function: Any, signature: Signature) -> None:
    """Make `help` and editors show other parameters of a function."""
    del function.__wrapped__  # its signature differs
    function.__signature__ = signature
    parameters = signature.parameters.values()
    function.__annotations__ = {
        each.name: each.annotation for each in parameters if each.annotation is not Parameter.empty
    }
    function.__annotations__["return"] = signature.return_annotation


def _describe_agent_option(name: str) -> str:
    """Return a hint if an unknown option is or resembles one of `Agent`; otherwise nothing."""
    if name in Agent.model_fields:
        return f" (an option of each agent: Agent(model='provider:model', {name}=...))"
    if close := find_near_name(name, Agent.model_fields):
        example = f"Agent(model='provider:model', {close}=...)"
        return f" (did you mean {close!r}, an option of each agent: {example}?)"
    return ""


def _build_parameters(options_class: type[BaseModel]) -> list[Parameter]:
    """Create the parameters of a function from the fields of a class."""
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
