"""`MoAConfig`: a mixture as data, read from TOML."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from moa_graph.config.agent_refs import read_agent, resolve_agent, resolve_layer
from moa_graph.config.router_table import RouterTable, resolve_router
from moa_graph.config.table_names import (
    check_dotted_names,
    check_layers,
    check_misplaced_keys,
    describe_agent_key,
)
from moa_graph.config.toml_files import load_toml
from moa_graph.deprecated import OldOptionAttributes, rename_options
from moa_graph.graph.node_names import check_agent_name, make_unique_name, slugify_label
from moa_graph.graph.option_checks import (
    check_can_vote,
    check_finalists,
    check_has_readers,
    check_has_vote,
)
from moa_graph.graph.options import (
    AggregationOptions,
    DepthOptions,
    LayerOptions,
    Number,
    SharedOptions,
)
from moa_graph.graph.policy import LayerPolicy, policies_for_layers
from moa_graph.models.agent import Agent, Temperature, find_key_variable
from moa_graph.models.pricing import is_free_model
from moa_graph.models.providers import ReasoningEffort
from moa_graph.stored_names import translate_options
from moa_graph.validation_errors import (
    AcceptedNames,
    PlainErrors,
    describe_expected,
    describe_unknown_name,
    format_location,
    join_mistakes,
    list_mistakes,
    suggest_name,
)

if TYPE_CHECKING:
    from moa_graph.agents.optional import MoAMiddleware
    from moa_graph.chat_model.model import ChatMoA
    from moa_graph.graph.builder import MoAGraph

STORED = {"stored": True}
"""Validation context for stored data, possibly of an earlier version: it may have old names."""

PRESETS = Path(__file__).parent / "presets"

Name = Annotated[str, AfterValidator(check_agent_name)]
Price = Annotated[Number, Field(ge=0)]
NamedAgent = Annotated[Agent, BeforeValidator(read_agent)]


PYTHON_OPTIONS = {
    "lazy": "`graph()` and `chat_model()` build the models at the first call, unless they are "
    "called with `lazy=False`",
}
"""Options of `create_moa` that a configuration does not accept, and why."""


_RULES = {
    "early_stop": "expected a number above 0 and at most 1, such as 0.9",
    "quorum": "expected a number of proposers, or a share of them such as 0.5, where 1.0 is all",
    "grace": "expected seconds, such as 10",
    "deadline": "expected seconds, such as 60",
}
"""Accepted values of the options of layers, for error messages."""


class CachePolicyTable(BaseModel):
    """A `CachePolicy` of LangGraph as plain data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl: int | None = Field(default=None, ge=1, strict=True)
    """Seconds for which an answer is valid; unlimited by default."""


class MoAConfig(PlainErrors, SharedOptions, OldOptionAttributes):
    """A mixture as plain data. Its options are those of `create_moa`.

    An agent is a `"provider:model"` string, a table of the options of `Agent`, or the name of
    an entry in `agents`. A layer is a table of names and agents, or a list of agents. In `grace`,
    `deadline`, `max_reference_tokens` and `max_tool_result_tokens`, `inf` stands for `None`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    positional_hint: ClassVar[str] = (
        "MoAConfig(layers=[...], aggregator='provider:model') or MoAConfig.load('moa-lite')"
    )

    name: Name = "moa"
    """Name of the compiled graph."""
    agents: dict[Name, NamedAgent] = Field(default_factory=dict, exclude=True)
    """Agents that layers and the aggregator can refer to by name."""
    layers: list[Annotated[dict[Name, NamedAgent], Field(min_length=1)]] = Field(min_length=1)
    """Layers of proposers. The paper counts the aggregator as one more."""
    aggregator: NamedAgent
    """The agent that writes the final answer."""
    fallbacks: list[NamedAgent] = Field(default=[])
    """Agents that replace the aggregator when it fails, in order."""
    voters: Annotated[dict[Name, NamedAgent], Field(min_length=1)] | None = None
    """Agents that rank the proposals, with `aggregation = "vote"`; a table or list, as a layer."""
    analysis: Annotated[bool | Agent, BeforeValidator(read_agent)] = False
    """Whether a model compares the proposals for the aggregator: true for the aggregator's own, or
    an agent."""
    stream_proposals: bool = Field(default=False, strict=True)
    """As in `create_moa`; a chat model never streams proposals."""
    cache_policy: CachePolicyTable | None = None
    """As in `create_moa`: reuse answers from the `cache` that the graph is compiled with."""
    early_stop: Number | None = Field(default=None, gt=0, le=1)
    """As in `create_moa`: agreement, from 0 to 1, at which the aggregator writes."""
    max_cost: Price | None = None
    """As in `create_moa`: budget of a run in US dollars."""
    router: RouterTable | None = None  # type: ignore[assignment]  # the same, as plain data
    """As in `create_moa`: a chat model decides whether a question goes to one model."""
    temperature: Temperature | None = None
    """Sampling temperature of agents without their own."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """Maximum number of tokens in an answer, for agents without their own."""
    prices: dict[str, tuple[Price, Price]] = Field(default={})
    """US dollars for a million tokens read and a million written, by `provider:model`, for cost
    estimates; other prices come from the package `genai-prices`."""

    @classmethod
    def describe_errors(cls, error: ValidationError) -> str:
        """Describe the invalid options of a configuration."""
        return format_validation_error(error)

    @model_validator(mode="before")
    @classmethod
    def _rename_old_options(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        return translate_options(data) if info.context is STORED else rename_options(data)

    @model_validator(mode="before")
    @classmethod
    def _resolve_names(cls, data: Any) -> Any:
        """Replace names of agents by the agents, and name those of lists."""
        if not isinstance(data, Mapping):
            return data
        resolved = dict(data)
        agents = data["agents"] if isinstance(data.get("agents"), Mapping) else {}
        check_layers(data.get("layers"))
        agent_keys = Agent.model_fields.keys()
        for table in ("agents", "prices"):
            check_dotted_names(data.get(table), table, agent_keys)
        check_misplaced_keys(agents, cls.model_fields.keys())
        if isinstance(layers := data.get("layers"), list):
            for index, layer in enumerate(layers):
                check_dotted_names(layer, f"layers[{index}]", agent_keys)
            resolved["layers"] = [resolve_layer(layer, agents) for layer in layers]
        if isinstance(fallbacks := data.get("fallbacks"), list):
            resolved["fallbacks"] = [resolve_agent(agent, agents) for agent in fallbacks]
        if "router" in data:
            resolved["router"] = resolve_router(data["router"], agents)
        if data.get("voters") is not None:
            check_dotted_names(data["voters"], "voters", agent_keys)
            resolved["voters"] = resolve_layer(data["voters"], agents)
        if isinstance(data.get("analysis"), (str, Mapping)):
            resolved["analysis"] = resolve_agent(data["analysis"], agents)
        if "aggregator" in data:
            resolved["aggregator"] = resolve_agent(data["aggregator"], agents)
        return resolved

    @field_validator(
        "grace", "deadline", "max_reference_tokens", "max_tool_result_tokens", mode="before"
    )
    @classmethod
    def _read_infinity(cls, value: Any) -> Any:
        """Replace `inf` by `None`, which TOML cannot express."""
        if isinstance(value, list):
            return [None if each == math.inf else each for each in value]
        return None if value == math.inf else value

    @model_validator(mode="after")
    def _check_policies(self) -> Self:
        for agent in (self.aggregator, *self.fallbacks):
            if agent.samples != 1:
                raise ValueError(f"samples = {agent.samples}: an aggregator is called once")
            if agent.joint_samples:
                raise ValueError("joint_samples = true: an aggregator is called once")
        self.layer_policies()
        check_has_readers(self.references_per_reader, len(self.layers))
        self._check_vote()
        return self

    def _check_vote(self) -> None:
        if self.aggregation != "vote":
            check_has_vote(self.voters and list(self.voters), self.finalists)
            return
        width = self.layer_widths()[-1] if self.layers else 0
        check_finalists(self.finalists, width)
        if self.voters is None:
            check_can_vote(width)

    @property
    def picks_proposal(self) -> bool:
        """Whether the answer is one of the proposals, without a call of the aggregator."""
        return self.aggregation == "select" or (self.aggregation == "vote" and self.finalists == 1)

    @property
    def helpers(self) -> list[Agent]:
        """The configured agents that are called between the last layer and the aggregator."""
        analysts = [self.analysis] if isinstance(self.analysis, Agent) else []
        return [*(self.voters or {}).values(), *analysts]

    @classmethod
    def load(cls, source: str | Path) -> MoAConfig:
        """Read a preset or a TOML file.

        Args:
            source: Name of a preset, such as `moa-lite`, or the path of a TOML file.

        Raises:
            ValueError: If there is no such preset or file, or it is not a valid mixture; the
                message names the location.
        """
        preset = PRESETS / f"{source}.toml"
        path = preset if preset.name == f"{source}.toml" and preset.is_file() else Path(source)
        if not path.is_file():
            raise ValueError(
                f"no preset or file {str(source)!r}; "
                f"expected the path of a TOML file or one of: {', '.join(preset_names())}"
                f"{suggest_name(str(source), preset_names())}"
            )
        context = {"folder": path.absolute().parent}

        def validate(data: dict[str, Any]) -> MoAConfig:
            return cls.model_validate(rename_options(data, str(path)), context=context)

        return load_toml(path, validate, format_validation_error)

    def override(
        self,
        *,
        models: Sequence[str] | Mapping[str, str] | None = None,
        aggregator: str | None = None,
        temperature: float | None = None,
        samples: int | None = None,
        reasoning_effort: ReasoningEffort | None = None,
        early_stop: float | None = None,
        max_cost: float | None = None,
    ) -> MoAConfig:
        """Return a copy with other models or options; `None` keeps a value.

        Args:
            models: The proposers of every layer, or, by name, other models for some of them. A
                model is `"provider:model"`, or the name of a proposer of this mixture.
            aggregator: The model that writes the final answer, in the same form.
            temperature: Sampling temperature of all agents, including those that set their own.
            samples: Number of samples of each proposer.
            reasoning_effort: Reasoning effort of the agents whose providers accept it.
            early_stop: Agreement, from 0 to 1, at which the aggregator writes.
            max_cost: Budget of a run in US dollars.

        Returns:
            A new mixture.

        Raises:
            ValueError: If the result is not a valid mixture; the message names the argument.
        """
        named = self.agents | {name: agent for row in self.layers for name, agent in row.items()}
        if isinstance(models, Mapping):
            _check_proposer_names(models, named)
        layers = [_replace_proposers(layer, models, named) for layer in self.layers]
        new_aggregator = (
            self.aggregator
            if aggregator is None
            else _resolve_agent(aggregator, named, "aggregator")
        )
        agent_update = _build_agent_update(temperature, reasoning_effort)
        proposer_update = agent_update if samples is None else agent_update | {"samples": samples}
        default_temperature = self.temperature if temperature is None else temperature
        try:
            changed = {
                "layers": [
                    {n: _copy_agent(agent, proposer_update) for n, agent in row.items()}
                    for row in layers
                ],
                "aggregator": _copy_agent(
                    new_aggregator, agent_update | {"samples": 1, "joint_samples": False}
                ),
                "fallbacks": [_copy_agent(agent, agent_update) for agent in self.fallbacks],
                "voters": self.voters
                and {name: _copy_agent(agent, agent_update) for name, agent in self.voters.items()},
                "analysis": _copy_agent(self.analysis, agent_update)
                if isinstance(self.analysis, Agent)
                else self.analysis,
                "temperature": default_temperature,
                "early_stop": self.early_stop if early_stop is None else early_stop,
                "max_cost": self.max_cost if max_cost is None else max_cost,
            }
            return self.model_validate(dict(self) | changed)
        except ValidationError as error:
            raise ValueError(format_validation_error(error)) from None

    def graph(self, **options: Any) -> MoAGraph:
        """Create the builder of the graph.

        Args:
            **options: Options of `create_moa`. `lazy` is `True` by default: models are built at
                the first call.

        Returns:
            The builder; compile it to run it.
        """
        from langgraph.types import CachePolicy  # noqa: PLC0415  # LangGraph takes half a second

        from moa_graph.graph.builder import create_moa  # noqa: PLC0415  # likewise

        policy: CachePolicy[Any] | None = None
        if self.cache_policy:
            policy = CachePolicy(ttl=self.cache_policy.ttl)
        arguments = {"stream_proposals": self.stream_proposals, "cache_policy": policy}
        return create_moa(**self._shared_arguments() | arguments | rename_options(options))

    def chat_model(self, **options: Any) -> ChatMoA:
        """Create the chat model.

        Args:
            **options: Options of `ChatMoA`. `lazy` is `True` by default, as in `graph`.

        Returns:
            A chat model with the name of the mixture.
        """
        from moa_graph.chat_model.model import ChatMoA  # noqa: PLC0415  # likewise

        return ChatMoA(
            **{"model_name": self.name} | self._shared_arguments() | rename_options(options)
        )

    def middleware(self, **options: Any) -> MoAMiddleware:
        """Create middleware of an agent from the layers and their options.

        The aggregator and its fallbacks are not used, because the model of the agent answers.

        Args:
            **options: Options of `MoAMiddleware`. `lazy` is `True` by default, as in `graph`. The
                default of `references_in` is that of `MoAMiddleware`.

        Raises:
            ValueError: If the configuration sets an option that middleware does not have.
            ImportError: If LangChain's agents are not installed.
        """
        from moa_graph.agents.optional import MoAMiddleware  # noqa: PLC0415  # likewise

        self._check_can_be_middleware()
        shared = DepthOptions.model_fields.keys() | LayerOptions.model_fields.keys()
        arguments: dict[str, Any] = {name: getattr(self, name) for name in shared}
        arguments |= {"layers": self.with_defaults().layers, "lazy": True}
        arguments["stream_proposals"] = self.stream_proposals
        if "references_in" not in self.model_fields_set:
            del arguments["references_in"]
        return MoAMiddleware(**arguments | options)

    def _check_can_be_middleware(self) -> None:
        """Check that no option is set that `MoAMiddleware` does not have."""
        for name in (
            *AggregationOptions.model_fields,
            "voters",
            "analysis",
            "router",
            "cache_policy",
        ):
            value, default = getattr(self, name), type(self).model_fields[name].get_default()
            if value != default:
                raise ValueError(
                    f"`{name}`: MoAMiddleware has no such option, because the agent's own model "
                    f"answers; expected a mixture without it, such as "
                    f"config.model_copy(update={{{name!r}: {default!r}}})"
                )

    def with_defaults(self) -> MoAConfig:
        """Return the same mixture with `temperature` and `max_tokens` set in each agent."""
        return self.model_copy(
            update={
                "layers": [
                    {name: self._agent_with_defaults(agent) for name, agent in layer.items()}
                    for layer in self.layers
                ],
                "aggregator": self._agent_with_defaults(self.aggregator),
                "fallbacks": [self._agent_with_defaults(agent) for agent in self.fallbacks],
                "voters": self.voters
                and {name: self._agent_with_defaults(agent) for name, agent in self.voters.items()},
                "analysis": self._agent_with_defaults(self.analysis)
                if isinstance(self.analysis, Agent)
                else self.analysis,
                "router": self.router and self.router.map_agents(self._agent_with_defaults),
            }
        )

    def labels(self) -> list[str]:
        """Names of the models (`provider:model`), each once."""
        proposers = (agent for layer in self.layers for agent in layer.values())
        routes = self.router.agents.values() if self.router else ()
        others = (self.aggregator, *self.fallbacks, *self.helpers, *routes)
        deciders = [self.router.model] if self.router else []
        return sorted({agent.label for agent in (*proposers, *others, *deciders)})

    def required_keys(self) -> list[str]:
        """Names of the environment variables that hold the keys of the agents."""
        return list(self.agents_by_key())

    def agents_by_key(self) -> dict[str, list[str]]:
        """Names of agents by the environment variable that holds their key."""
        agents = [(name, agent) for layer in self.layers for name, agent in layer.items()]
        agents += [("aggregator", self.aggregator)]
        agents += [("fallbacks", agent) for agent in self.fallbacks]
        if self.router:
            agents += [("router", self.router.model), *self.router.agents.items()]
        agents += (self.voters or {}).items()
        agents += [("analysis", self.analysis)] if isinstance(self.analysis, Agent) else []
        users: dict[str, dict[str, None]] = defaultdict(dict)
        for name, agent in agents:
            if key := find_key_variable(agent):
                users[key][name] = None
        return {key: list(users[key]) for key in sorted(users)}

    def layer_widths(self) -> list[int]:
        """Number of proposers in each layer; each sample of an agent counts."""
        return [sum(agent.samples for agent in layer.values()) for layer in self.layers]

    def layer_policies(self) -> list[LayerPolicy]:
        """Return the quorum, grace and deadline of each layer.

        Raises:
            ValueError: If they do not match the layers.
        """
        return policies_for_layers(self.layer_widths(), self.quorum, self.grace, self.deadline)

    def _shared_arguments(self) -> dict[str, Any]:
        """Arguments that both `create_moa` and `ChatMoA` take."""
        completed = self.with_defaults()
        return {
            "layers": completed.layers,
            "aggregator": completed.aggregator,
            "fallbacks": completed.fallbacks,
            "voters": completed.voters,
            "analysis": completed.analysis,
            "lazy": True,
            **{name: getattr(self, name) for name in SharedOptions.model_fields},
            "router": completed.router and completed.router.to_router(),
        }

    def _agent_with_defaults(self, agent: Agent) -> Agent:
        if is_free_model(agent.label):
            return agent
        defaults = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        unset = {key: value for key, value in defaults.items() if getattr(agent, key) is None}
        return agent.model_copy(update=unset)


def preset_names() -> list[str]:
    """Return the names of the presets that the package contains."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def format_validation_error(
    error: ValidationError, accepted_keys: AcceptedNames | None = None
) -> str:
    """Describe the errors of a configuration: their locations and the accepted values.

    Args:
        error: The validation error of pydantic.
        accepted_keys: Returns the known keys of a location; by default those of a mixture.
    """
    accepted_keys = accepted_keys or _accepted_keys_at
    mistakes = list_mistakes(error, accepted_keys)
    brief = len(mistakes) > 1
    return join_mistakes([_describe_mistake(each, accepted_keys, brief) for each in mistakes])


def _describe_mistake(mistake: ErrorDetails, accepted_keys: AcceptedNames, brief: bool) -> str:  # noqa: FBT001
    location = format_location(mistake)
    message = describe_expected(mistake["msg"])
    match mistake["type"]:
        case "extra_forbidden":  # omit the value, which may be a key
            message = _describe_unknown_key(mistake, accepted_keys, brief)
        case "missing":
            message = "required, but missing"
        case "value_error":
            pass
        case "too_short":
            message = "empty; expected at least one"
        case _ if name := _find_rule_name(location):
            message = f"{_RULES[name]}, got {mistake['input']!r}"
        case _:
            message = re.sub(r" or instance of \w+", "", message.replace("dictionary", "table"))
            message = f"{message}, got {mistake['input']!r}"
    return f"{location}: {message}" if location else message


def _describe_unknown_key(mistake: ErrorDetails, accepted_keys: AcceptedNames, brief: bool) -> str:  # noqa: FBT001
    location = format_location(mistake)
    keys = list(accepted_keys(location))
    message = describe_unknown_name("key", str(mistake["loc"][-1]), keys, brief=brief)
    if location in Agent.model_fields and accepted_keys is _accepted_keys_at:
        message = describe_agent_key(location)
    if reason := PYTHON_OPTIONS.get(location):
        message = message.replace("unknown key", reason, 1)
    return message


def _find_rule_name(location: str) -> str | None:
    """Return the layer option that a location is, or is in."""
    return next((name for name in _RULES if re.fullmatch(rf"{name}(\[\d+\])?", location)), None)


def _accepted_keys_at(location: str) -> Iterable[str]:
    if location.startswith("cache_policy."):
        return CachePolicyTable.model_fields
    if re.fullmatch(r"router\.\w*", location):
        return RouterTable.model_fields
    in_agent = location.startswith(
        ("agents.", "layers[", "aggregator.", "voters.", "analysis.", "router.")
    )
    model = Agent if in_agent else MoAConfig
    return sorted(model.model_fields, key=SharedOptions.model_fields.__contains__)  # own keys first


def _check_proposer_names(names: Iterable[str], named: Mapping[str, Agent]) -> None:
    if unknown := sorted(set(names) - named.keys()):
        raise ValueError(f"models: no proposer {unknown[0]!r}; expected one of: {', '.join(named)}")


def _build_agent_update(
    temperature: float | None, reasoning_effort: ReasoningEffort | None
) -> dict[str, Any]:
    """Return the fields to change in every agent; `temperature` moves to the mixture."""
    update: dict[str, Any] = {} if temperature is None else {"temperature": None}
    if reasoning_effort is not None:
        update["reasoning_effort"] = reasoning_effort
    return update


def _replace_proposers(
    layer: Mapping[str, Agent],
    models: Sequence[str] | Mapping[str, str] | None,
    named: Mapping[str, Agent],
) -> Mapping[str, Agent]:
    """Replace models of a layer, by name or all of them."""
    if models is None:
        return layer
    if isinstance(models, str) or not models:
        raise ValueError(
            f"models: expected a list of at least one 'provider:model', got {models!r}"
        )
    if isinstance(models, Mapping):
        return dict(layer) | {
            name: _resolve_agent(model, named, f"models.{name}")
            for name, model in models.items()
            if name in layer
        }
    agents = dict[str, Agent]()
    for index, model in enumerate(models):
        agent = _resolve_agent(model, named, f"models[{index}]")
        agents[make_unique_name(model if model in named else slugify_label(model), agents)] = agent
    return agents


def _resolve_agent(model: str, named: Mapping[str, Agent], location: str) -> Agent:
    try:
        return TypeAdapter(NamedAgent).validate_python(resolve_agent(model, named))
    except ValidationError as error:
        raise ValueError(
            f"{location}: {format_validation_error(error).removeprefix('model: ')}"
        ) from None


def _copy_agent(agent: Agent, update: dict[str, Any]) -> Agent:
    fields = {name: getattr(agent, name) for name in Agent.model_fields}  # no cached properties
    if "reasoning_effort" in update and not agent.takes_option("reasoning_effort"):
        update = {name: value for name, value in update.items() if name != "reasoning_effort"}
    return Agent.model_validate(fields | update)
