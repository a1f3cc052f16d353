"""A mixture as data: `MoAConfig`, read from TOML."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails

from moa_graph.config.agent_refs import resolve_agent, resolve_layer
from moa_graph.config.table_names import (
    check_dotted_names,
    check_layers,
    check_misplaced_keys,
    check_mistyped_keys,
    describe_agent_key,
    describe_unknown_key,
)
from moa_graph.config.toml_files import load_toml
from moa_graph.deprecated import OldOptionAttributes, rename_options
from moa_graph.graph.node_names import check_agent_name, make_unique_name, slugify_label
from moa_graph.graph.options import Number, SharedOptions, suggest_name
from moa_graph.graph.policy import LayerPolicy, policies_for_layers
from moa_graph.models.agent import Agent, Temperature, find_key_variable
from moa_graph.models.pricing import is_free_model
from moa_graph.models.providers import ReasoningEffort
from moa_graph.stored_names import translate_options

if TYPE_CHECKING:
    from moa_graph.chat_model.model import ChatMoA
    from moa_graph.graph.builder import MoAGraph

STORED = {"stored": True}
"""The context of what an earlier process stored, maybe one of an earlier version."""

PRESETS = Path(__file__).parent / "presets"

Name = Annotated[str, AfterValidator(check_agent_name)]
Price = Annotated[Number, Field(ge=0)]
NamedAgent = Annotated[Agent, BeforeValidator(lambda v: {"model": v} if isinstance(v, str) else v)]


PYTHON_OPTIONS = {
    "lazy": "`graph()` and `chat_model()` build the models at the first call, unless they are "
    "called with `lazy=False`",
}
"""Options of `create_moa` that a configuration does not have, and why."""


_RULES = {
    "quorum": "expected a number of proposers, or a share of them such as 0.5, where 1.0 is all",
    "grace": "expected seconds, such as 10",
    "deadline": "expected seconds, such as 60",
}
"""What the rules of layers may be."""


class CachePolicyTable(BaseModel):
    """A `CachePolicy` of LangGraph, as plain data."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    ttl: int | None = Field(default=None, ge=1, strict=True)
    """Seconds for which an answer counts; by default any time."""


class MoAConfig(SharedOptions, OldOptionAttributes):
    """What `create_moa` takes, as plain data; its other options are documented there.

    An agent is a `"provider:model"` string, a table of the options of `Agent`, or the name of
    an entry in `agents`. A layer is a table of names and agents, or a list of agents. In `grace`,
    `deadline`, `max_reference_tokens` and `max_tool_result_tokens`, `inf` stands for `None`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Name = "moa"
    """Name of the compiled graph."""
    agents: dict[Name, NamedAgent] = Field(default_factory=dict, exclude=True)
    """Agents that layers and the aggregator can name."""
    layers: list[Annotated[dict[Name, NamedAgent], Field(min_length=1)]] = Field(min_length=1)
    """The layers of proposers. The paper counts the aggregator as one more."""
    aggregator: NamedAgent
    """The agent that writes the final answer."""
    fallbacks: list[NamedAgent] = Field(default=[])
    """Agents that are asked for the final answer when the aggregator fails."""
    stream_proposals: bool = Field(default=False, strict=True)
    """As in `create_moa`; a chat model never shows them."""
    cache_policy: CachePolicyTable | None = None
    """As in `create_moa`: answers are reused from the `cache` that the graph is compiled with."""
    temperature: Temperature | None = None
    """Sampling temperature of the agents that set none."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """The most tokens in an answer of the agents that set no number."""
    prices: dict[str, tuple[Price, Price]] = Field(default={})
    """US dollars for a million tokens read and for a million written, by `provider:model`, for
    estimates of cost; other prices are those that the package `genai-prices` knows."""

    @model_validator(mode="before")
    @classmethod
    def _rename_old_options(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, Mapping):
            return data
        return translate_options(data) if info.context is STORED else rename_options(data)

    @model_validator(mode="before")
    @classmethod
    def _resolve_names(cls, data: Any) -> Any:
        """Put agents where they are named, and give those in lists a name."""
        if not isinstance(data, Mapping) or not isinstance(data.get("agents", {}), Mapping):
            return data
        agents, resolved = data.get("agents", {}), dict(data)
        check_layers(data.get("layers"))
        agent_keys = Agent.model_fields.keys()
        for table in ("agents", "prices"):
            check_dotted_names(data.get(table), table, agent_keys)
        check_misplaced_keys(agents, cls.model_fields.keys())
        if isinstance(layers := data.get("layers"), list):
            for index, layer in enumerate(layers):
                check_dotted_names(layer, f"layers[{index}]", agent_keys)
            resolved["layers"] = [
                resolve_layer(layer, agents, f"layers[{index}]")
                for index, layer in enumerate(layers)
            ]
        if isinstance(fallbacks := data.get("fallbacks"), list):
            resolved["fallbacks"] = [
                resolve_agent(agent, agents, f"fallbacks[{index}]")
                for index, agent in enumerate(fallbacks)
            ]
        if "aggregator" in data:
            resolved["aggregator"] = resolve_agent(data["aggregator"], agents, "aggregator")
        return resolved

    @field_validator(
        "grace", "deadline", "max_reference_tokens", "max_tool_result_tokens", mode="before"
    )
    @classmethod
    def _read_infinity(cls, value: Any) -> Any:
        """Read `inf` as `None`, which TOML cannot write."""
        if isinstance(value, list):
            return [None if each == math.inf else each for each in value]
        return None if value == math.inf else value

    @model_validator(mode="after")
    def _check_policies(self) -> Self:
        for agent in (self.aggregator, *self.fallbacks):
            if agent.samples != 1:
                raise ValueError(f"samples = {agent.samples}: an aggregator is asked once")
            if agent.joint_samples:
                raise ValueError("joint_samples = true: an aggregator is asked once")
        self.layer_policies()
        return self

    @classmethod
    def load(cls, source: str | Path) -> MoAConfig:
        """Read a preset or a TOML file.

        Args:
            source: Name of a preset, such as `moa-lite`, or path of a TOML file.

        Raises:
            ValueError: If there is no such preset or file, or it is not a valid mixture; the
                message names the place.
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
            renamed = rename_options(data, str(path))
            check_mistyped_keys(renamed, list(_accepted_keys_at("")))
            return cls.model_validate(renamed, context=context)

        return load_toml(path, validate, format_validation_error)

    def override(
        self,
        *,
        models: Sequence[str] | Mapping[str, str] | None = None,
        aggregator: str | None = None,
        temperature: float | None = None,
        samples: int | None = None,
        reasoning_effort: ReasoningEffort | None = None,
    ) -> MoAConfig:
        """Change the models or how they are asked; what is `None` stays.

        Args:
            models: The proposers of every layer, or, by name, other models for some of them. A
                model is `"provider:model"`, or the name of a proposer of this mixture.
            aggregator: The model that writes the final answer, named alike.
            temperature: Sampling temperature of all agents, those that set their own among them.
            samples: How many times each proposer is asked.
            reasoning_effort: How long the agents think whose providers take it.

        Returns:
            A new mixture.

        Raises:
            ValueError: If the outcome is no valid mixture; the message names the argument.
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
                "aggregator": _copy_agent(new_aggregator, agent_update | {"samples": 1}),
                "fallbacks": [_copy_agent(agent, agent_update) for agent in self.fallbacks],
                "temperature": default_temperature,
            }
            return self.model_validate(dict(self) | changed)
        except ValidationError as error:
            raise ValueError(format_validation_error(error)) from None

    def graph(self, **options: Any) -> MoAGraph:
        """Create the graph.

        Args:
            **options: Options of `create_moa`. `lazy` is true unless given: the models are
                built at the first call.

        Returns:
            The graph's builder.
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
            **options: Options of `ChatMoA`. `lazy` is true unless given, as in `graph`.

        Returns:
            A chat model of this name.
        """
        from moa_graph.chat_model.model import ChatMoA  # noqa: PLC0415  # likewise

        return ChatMoA(
            **{"model_name": self.name} | self._shared_arguments() | rename_options(options)
        )

    def with_defaults(self) -> MoAConfig:
        """Give the same mixture with `temperature` and `max_tokens` in each agent."""
        return self.model_copy(
            update={
                "layers": [
                    {name: self._agent_with_defaults(agent) for name, agent in layer.items()}
                    for layer in self.layers
                ],
                "aggregator": self._agent_with_defaults(self.aggregator),
                "fallbacks": [self._agent_with_defaults(agent) for agent in self.fallbacks],
            }
        )

    def labels(self) -> list[str]:
        """Name the models, each once: `provider:model`."""
        proposers = (agent for layer in self.layers for agent in layer.values())
        return sorted({a.label for a in (*proposers, self.aggregator, *self.fallbacks)})

    def required_keys(self) -> list[str]:
        """Name the environment variables that hold the keys of the agents."""
        return list(self.agents_by_key())

    def agents_by_key(self) -> dict[str, list[str]]:
        """Name the agents that need each of the environment variables that hold keys."""
        agents = [(name, agent) for layer in self.layers for name, agent in layer.items()]
        agents += [("aggregator", self.aggregator)]
        agents += [("fallbacks", agent) for agent in self.fallbacks]
        users: dict[str, dict[str, None]] = defaultdict(dict)
        for name, agent in agents:
            if key := find_key_variable(agent):
                users[key][name] = None
        return {key: list(users[key]) for key in sorted(users)}

    def layer_widths(self) -> list[int]:
        """Count the proposers of each layer; each sample of an agent is one."""
        return [sum(agent.samples for agent in layer.values()) for layer in self.layers]

    def layer_policies(self) -> list[LayerPolicy]:
        """Give the quorum, grace and deadline of each layer.

        Raises:
            ValueError: If they do not fit the layers.
        """
        return policies_for_layers(self.layer_widths(), self.quorum, self.grace, self.deadline)

    def _shared_arguments(self) -> dict[str, Any]:
        """Give the arguments that `create_moa` and `ChatMoA` both take."""
        completed = self.with_defaults()
        return {
            "layers": completed.layers,
            "aggregator": completed.aggregator,
            "fallbacks": completed.fallbacks,
            "lazy": True,
            **{name: getattr(self, name) for name in SharedOptions.model_fields},
        }

    def _agent_with_defaults(self, agent: Agent) -> Agent:
        if is_free_model(agent.label):
            return agent
        defaults = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        unset = {key: value for key, value in defaults.items() if getattr(agent, key) is None}
        return agent.model_copy(update=unset)


def preset_names() -> list[str]:
    """List the presets that come with the package."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))


def format_validation_error(
    error: ValidationError, accepted_keys: Callable[[str], Iterable[str]] | None = None
) -> str:
    """Say where the first mistake of a configuration is, and what would be accepted.

    Args:
        error: The mistakes.
        accepted_keys: Names the keys that are known at a place; by default those of a mixture.
    """
    accepted_keys = accepted_keys or _accepted_keys_at
    first = _find_first_mistake(error, accepted_keys)
    location = _format_location(first)
    message = first["msg"].removeprefix("Value error, ")
    match first["type"]:
        case "extra_forbidden":  # the value may be a key: it is not repeated
            message = describe_unknown_key(str(first["loc"][-1]), list(accepted_keys(location)))
            if location in Agent.model_fields and accepted_keys is _accepted_keys_at:
                message = describe_agent_key(location)
            if reason := PYTHON_OPTIONS.get(location):
                message = message.replace("unknown key", reason, 1)
        case "missing":
            message = "required, but missing"
        case "value_error":
            pass
        case "too_short":
            message = "empty; expected at least one"
        case _ if name := _find_rule_name(location):
            message = f"{_RULES[name]}, got {first['input']!r}"
        case _:
            message = re.sub(r" or instance of \w+", "", message.replace("dictionary", "table"))
            message = f"{message[0].lower()}{message[1:]}, got {first['input']!r}"
    return f"{location}: {message}" if location else message


def _find_rule_name(location: str) -> str | None:
    """Name the rule of layers that a location is, or is in."""
    return next((name for name in _RULES if re.fullmatch(rf"{name}(\[\d+\])?", location)), None)


def _find_first_mistake(
    error: ValidationError, accepted_keys: Callable[[str], Iterable[str]]
) -> ErrorDetails:
    """Give the first mistake; a mistyped key stands before the key that is missing for it."""
    mistakes = error.errors()
    mistyped = (
        each
        for each in mistakes
        if each["type"] == "extra_forbidden"
        and suggest_name(str(each["loc"][-1]), accepted_keys(_format_location(each)))
    )
    return next(mistyped, mistakes[0]) if mistakes[0]["type"] == "missing" else mistakes[0]


def _format_location(mistake: ErrorDetails) -> str:
    location = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in mistake["loc"]
    )
    branch = r"\.(\[key\]|int|float|list\[.*)$"  # of a union
    return re.sub(branch, "", location.removeprefix("."), flags=re.DOTALL)


def _accepted_keys_at(location: str) -> Iterable[str]:
    if location.startswith("cache_policy."):
        return CachePolicyTable.model_fields
    model = Agent if location.startswith(("agents.", "layers[", "aggregator.")) else MoAConfig
    return sorted(model.model_fields, key=SharedOptions.model_fields.__contains__)  # own ones first


def _check_proposer_names(names: Iterable[str], named: Mapping[str, Agent]) -> None:
    if unknown := sorted(set(names) - named.keys()):
        raise ValueError(f"models: no proposer {unknown[0]!r}; expected one of: {', '.join(named)}")


def _build_agent_update(
    temperature: float | None, reasoning_effort: ReasoningEffort | None
) -> dict[str, Any]:
    """Say what changes in every agent; a temperature is the mixture's, and no agent's own."""
    update: dict[str, Any] = {} if temperature is None else {"temperature": None}
    if reasoning_effort is not None:
        update["reasoning_effort"] = reasoning_effort
    return update


def _replace_proposers(
    layer: Mapping[str, Agent],
    models: Sequence[str] | Mapping[str, str] | None,
    named: Mapping[str, Agent],
) -> Mapping[str, Agent]:
    """Put other models into a layer, by name or instead of all."""
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
        resolved = resolve_agent(model, named, location)
        return resolved if isinstance(resolved, Agent) else Agent(model=resolved)
    except ValidationError as error:
        raise ValueError(
            f"{location}: {format_validation_error(error).removeprefix('model: ')}"
        ) from None


def _copy_agent(agent: Agent, update: dict[str, Any]) -> Agent:
    fields = {name: getattr(agent, name) for name in Agent.model_fields}  # `dict` has caches too
    if "reasoning_effort" in update and not agent.takes_option("reasoning_effort"):
        update = {name: value for name, value in update.items() if name != "reasoning_effort"}
    return Agent(**fields | update)
