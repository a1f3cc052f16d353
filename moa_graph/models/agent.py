"""From the name of a model to a chat model: `"provider:model"`, with its options."""

from __future__ import annotations

import inspect
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from moa_graph.models.endpoints import check_api_key, check_base_url, split_parameters
from moa_graph.models.providers import (
    DEFAULT_TIMEOUT_S,
    MODEL_OPTIONS,
    Provider,
    ReasoningEffort,
    split_label,
)
from moa_graph.prompting.refusals import MessageRoles

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    Model = str | Runnable[Any, Any]
else:
    Model = Any  # the name alone costs no import of LangChain

MAX_SAMPLES = 100
"""How often a layer may ask an agent."""

Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES, strict=True)]
Temperature = Annotated[float, Field(ge=0, le=2, strict=True)]

_OPTION_FIELDS = {"api_key": "api_key_env"}  # the fields of an agent that have another name


class Agent(BaseModel):
    """A model, and how it is to be asked.

    What is left out is the provider's own default. The paper asks with a temperature of 0.7
    and at most 2048 tokens.
    """

    # A key in the wrong place is not repeated in an error.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    model: Model
    """`"provider:model"`, or a runnable from messages to an `AIMessage`."""
    system: str | None = None
    """A system prompt of the agent's own; it stands before the conversation's."""
    samples: Samples = 1
    """How many times a layer asks this agent, side by side."""
    joint_samples: bool = Field(default=False, strict=True)
    """Whether its samples are asked for in one request, by the parameter `n` of OpenAI's API, where
    the model takes it. With `stream_proposals`, each is asked for by itself."""
    temperature: Temperature | None = None
    """Sampling temperature."""
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    """The share of probability from which words are drawn."""
    reasoning_effort: ReasoningEffort | None = None
    """How long a reasoning model thinks before it answers. Most such models take no
    `temperature` unless this is `"none"`."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """The most tokens that an answer may have; those that a reasoning model thinks count."""
    stop: list[str] | None = None
    """Texts at which an answer ends; they are not part of it."""
    timeout: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Seconds that a call may take in all, its retries among them; by default 600 for a chat
    model. A graph or another runnable, which may make many calls, is bounded only by this."""
    stream_chunk_timeout: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Seconds that a stream which has begun may be silent; by default 120."""
    hedge: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Seconds after which the same request is sent once more, if nothing has come: no answer, or no
    token of a streamed one. The first answer counts, and the other call is cancelled. In the place
    of an aggregator its next fallback is asked, if it has one. Only for a chat model."""
    max_retries: int | None = Field(default=None, ge=0, le=20, strict=True)
    """How often the provider's client asks again after a failure that may pass; it heeds
    `Retry-After`. Nobody else retries."""
    max_input_tokens: int | None = Field(default=None, ge=1, strict=True)
    """Size of the model's context, where its provider's package does not know it. References
    that do not fit are cut."""
    message_roles: MessageRoles | None = None
    """Which messages the model takes: `"alternating"` for user and assistant in turns behind one
    system message at most, `"no_system"` for these without a system message. Others are put
    into that form. By default any; a model that refuses some is asked again, and others like
    it from then on."""
    starts_in_thought: bool | None = Field(default=None, strict=True)
    """Whether the chat template of the model opens a thought in the prompt, so that its answers
    begin in it and end it with `</think>`. Its streams show nothing before that end. Where it is
    not said, it is known from the model's first answer on."""
    base_url: str | None = None
    """Where an OpenAI-compatible server listens, such as `http://localhost:11434/v1`."""
    api_key_env: str | None = None
    """Name of the environment variable that holds the key. A server at a `base_url` gets no
    key unless this names one."""

    @field_validator("model")
    @classmethod
    def _check_model(cls, model: Model, info: ValidationInfo) -> Model:
        if isinstance(model, str):
            if not re.fullmatch(r"[^\s:]+:\S.*", model):
                raise ValueError(
                    f"expected 'provider:model', such as 'openai:gpt-6.1-sol', got {model!r}"
                )
            provider, name = split_label(model)
            provider.check_model_name(name)
            folder = (info.context or {}).get("folder")
            if provider.replays_files and folder:  # a path in a file is relative to it
                return f"{provider.name}:{Path(folder, Path(name).expanduser())}"
        elif not callable(getattr(model, "invoke", None)) or inspect.isclass(model):
            raise ValueError(
                f"expected 'provider:model' or a runnable, got {model!r}"
            )  # pydantic reports it
        return model

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Refuse options that would silently have no effect."""
        for option in _given_options(self):
            if not self.takes_option(option):
                _refuse_option(self, option)
        provider = split_label(self.model)[0] if isinstance(self.model, str) else None
        if provider is not None and provider.is_free:
            for option in ("message_roles", "hedge"):
                if getattr(self, option) is not None:
                    _refuse_option(self, option)
        if self.hedge is not None and provider is None and not self._is_chat_model():
            raise ValueError(
                f"`hedge`={self.hedge!r}: expected a chat model, whose call is one request; got "
                f"{self.label!r}, which may make many"
            )
        if self.joint_samples and not self._takes_choices:
            _refuse_option(self, "joint_samples")
        if self.starts_in_thought and (provider is None or provider.is_free):
            _refuse_option(self, "starts_in_thought")
        return self

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None:
            check_base_url(url)
        return url

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        # What is no name of a variable may be a key: it is not repeated.
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("expected the name of an environment variable, such as 'VLLM_API_KEY'")
        return name

    def takes_option(self, option: str) -> bool:
        """Whether one of `MODEL_OPTIONS` has an effect, as far as its provider says so."""
        return isinstance(self.model, str) and split_label(self.model)[0].takes_option(option)

    @property
    def _takes_choices(self) -> bool:
        """Whether its model can be asked for several answers in one request."""
        if isinstance(self.model, str):
            return split_label(self.model)[0].supports_choices
        from moa_graph.models.adapt import supports_choices  # noqa: PLC0415  # loaded with the model

        return supports_choices(self.model)

    @property
    def call_timeout(self) -> float | None:
        """Seconds that a call may take; `None` for any time."""
        if self.timeout is not None:
            return self.timeout
        if isinstance(self.model, str):
            return None if split_label(self.model)[0].is_free else DEFAULT_TIMEOUT_S
        return DEFAULT_TIMEOUT_S if self._is_chat_model() else None

    def _is_chat_model(self) -> bool:
        """Whether its runnable is a chat model."""
        from moa_graph.models.adapt import is_chat_model  # noqa: PLC0415  # loaded with the model

        return is_chat_model(self.model)

    @cached_property
    def label(self) -> str:
        """What the model is called: `provider:model`, or the name of the runnable."""
        if isinstance(self.model, str):
            return self.model
        from moa_graph.models.configurable import default_model, is_configurable  # noqa: PLC0415  # LangChain

        model = default_model(self.model) if is_configurable(self.model) else self.model
        for attribute in ("model_name", "model", "name"):
            if isinstance(name := getattr(model, attribute, None), str) and name:
                return name
        return type(self.model).__name__


def build_model(agent: Agent, *, retries: bool = True) -> Runnable[Any, Any]:
    """Build what an agent asks.

    Args:
        agent: The agent.
        retries: Whether its client may ask again after a failure.

    Returns:
        The runnable of the agent, or a chat model of the named provider.

    Raises:
        ValueError: If an option has no effect on it, if the key is missing or cannot be one, if a
            variable of the environment names an address that cannot be one, if the provider's
            package refuses the options, or if the client of a chat model cannot be kept from
            asking again.
        ImportError: If the provider's package is not installed.
    """
    if not isinstance(agent.model, str):
        return agent.model if retries else _without_retries(agent.model)
    provider, name = split_label(agent.model)
    given = _given_options(agent)
    key = _read_key(agent)
    if agent.base_url is None:
        _check_addresses(provider)
    options = given | ({"api_key": key} if key else {}) | ({} if retries else {"max_retries": 0})
    model, ineffective = provider.build_model(name, options)
    for option in given.keys() & ineffective:
        _refuse_option(agent, option)
    _check_keys(model)
    if agent.starts_in_thought and not _expects_thoughts(model):
        _refuse_option(agent, "starts_in_thought")
    return cast("Runnable[Any, Any]", model)


def _without_retries(model: Runnable[Any, Any]) -> Runnable[Any, Any]:
    from moa_graph.models.adapt import without_retries  # noqa: PLC0415  # loaded with the model

    return cast("Runnable[Any, Any]", without_retries(model))


def _expects_thoughts(model: Any) -> bool:
    """Have a model's streams show no thought that begins in the prompt, if they can."""
    if not hasattr(model, "root_client"):  # it does not speak OpenAI's protocol
        return False
    from moa_graph.models.openai.fast_completions import expect_thoughts  # noqa: PLC0415  # slow

    return expect_thoughts(model)


def find_key_variable(agent: Agent) -> str | None:
    """Name the environment variable that holds the key of an agent, if it needs one."""
    if not isinstance(agent.model, str):
        return None
    provider, _ = split_label(agent.model)
    return agent.api_key_env or (None if agent.base_url else provider.key_variable)


def _given_options(agent: Agent) -> dict[str, Any]:
    """Give those of `MODEL_OPTIONS` that are set; instead of the key, its variable."""
    options = {name: getattr(agent, _OPTION_FIELDS.get(name, name)) for name in MODEL_OPTIONS}
    return {name: value for name, value in options.items() if value is not None}


def _refuse_option(agent: Agent, option: str) -> None:
    """Refuse an option that would silently have no effect."""
    if option == "timeout":  # the graph keeps it, whether or not the client does
        return
    name = _OPTION_FIELDS.get(option, option)
    if option == "joint_samples":
        reason = (
            "its request takes no `n`, as OpenAI's does; leave it out: each sample is then a "
            "request of its own"
        )
    elif isinstance(agent.model, str) and not (provider := split_label(agent.model)[0]).is_free:
        taker = repr(provider.name)
        if provider.takes_option(option):
            taker = "this model with these options"
        reason = (
            f"{taker} takes no `{option}`; leave it out, or give a chat model that is set up with "
            "it"
        )
    else:
        reason = "it applies to language models that are given as 'provider:model'"
    value = getattr(agent, name)
    raise ValueError(f"`{name}`={value!r} has no effect on {agent.label!r}; {reason}")


def _read_key(agent: Agent) -> str | None:
    """Read the key of an agent; clients want one also where a server does not."""
    variable = find_key_variable(agent)
    if variable is None:
        return "none" if agent.base_url else None
    if not (key := os.environ.get(variable)):
        raise ValueError(
            f"model {agent.model!r} needs a key: set the environment variable {variable}"
        )
    check_api_key(variable, key)
    return key


def _check_addresses(provider: Provider) -> None:
    """See that the environment names no address for a provider that cannot be one."""
    for variable in provider.address_variables:
        if url := os.environ.get(variable):
            try:
                check_base_url(url)
            except ValueError as error:
                raise ValueError(f"{variable}: {error}") from None
            if split_parameters(url)[1]:
                raise ValueError(
                    f"{variable}={url!r}: expected a URL without parameters; write it as the "
                    "`base_url` of an agent"
                )


def _check_keys(model: Any) -> None:
    """See that the keys can be such that a chat model has read from the environment by itself."""
    for name, value in getattr(model, "__dict__", {}).items():
        if read_secret := getattr(value, "get_secret_value", None):
            check_api_key(f"`{name}` of {type(model).__name__}", str(read_secret()))
