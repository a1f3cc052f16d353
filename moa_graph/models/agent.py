"""`Agent`: a model with options, and the chat model of a `"provider:model"` string."""

from __future__ import annotations

import inspect
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
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
from moa_graph.validation_errors import PlainErrors, describe_option_errors

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    Model = str | Runnable[Any, Any]
else:
    Model = Any  # only the name: importing LangChain is slow

MAX_SAMPLES = 100
"""Maximum of `samples`."""

Samples = Annotated[int, Field(ge=1, le=MAX_SAMPLES, strict=True)]
Temperature = Annotated[float, Field(ge=0, le=2, strict=True)]

_OPTION_FIELDS = {"api_key": "api_key_env"}  # fields of `Agent` with another name


class Agent(PlainErrors, BaseModel):
    """A model and the options of its calls.

    Options that are not set have the provider's default. The paper uses a temperature of 0.7 and at
    most 2048 tokens. An option that has no effect on the model is an error.

    - The agent: `system` is its system prompt, `samples` the number of its parallel calls, and
      `joint_samples` requests them together.
    - Generation: `temperature`, `top_p`, `reasoning_effort`, `max_tokens`, `stop`.
    - Time, in seconds: `timeout` of a call, `stream_chunk_timeout` between chunks, `hedge` until a
      second request; `max_retries` of the provider's client.
    - The prompt: `max_input_tokens` is the context length, `message_roles` the accepted roles, and
      `starts_in_thought` says that the chat template opens the thought.
    - The server: `base_url` is its address, `api_key_env` the variable with its key.

    Raises:
        ValueError: If an option is unknown, invalid or without effect on the model.

    Example:
        ```python
        coder = Agent(model="openai:llama3.2", base_url="http://localhost:11434/v1", samples=3)
        moa = create_moa([{"coder": coder}], aggregator=coder)
        ```
    """

    # Errors must not repeat a key in the wrong field.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    positional_hint: ClassVar[str] = "Agent(model='openai:gpt-6.1-sol', temperature=0.7)"

    model: Model
    """`"provider:model"`, or a runnable from messages to an `AIMessage`."""
    system: str | None = None
    """System prompt of the agent, placed before that of the conversation."""
    samples: Samples = 1
    """Number of parallel calls of this agent in a layer."""
    joint_samples: bool = Field(default=False, strict=True)
    """Whether one request returns all samples, with the parameter `n` of OpenAI's API, if the model
    accepts it. With `stream_proposals`, each sample is a separate request."""
    temperature: Temperature | None = None
    """Sampling temperature."""
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    """Nucleus sampling: the share of probability from which tokens are drawn."""
    reasoning_effort: ReasoningEffort | None = None
    """How long a reasoning model thinks before it answers. Most such models accept a
    `temperature` only if this is `"none"`."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """Maximum number of tokens in an answer, including reasoning."""
    stop: list[str] | None = None
    """Strings at which generation stops. The answer does not include them."""
    timeout: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Maximum number of seconds for a call including its retries; by default 600 for a chat model.
    A graph or another runnable may make many calls and has no limit unless this is set."""
    stream_chunk_timeout: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Maximum number of seconds between chunks of a stream; by default 120."""
    hedge: float | None = Field(default=None, gt=0, strict=True, allow_inf_nan=False)
    """Seconds without an answer, or without the first token of a stream, after which the same
    request is sent again. The first answer is used, and the other call is cancelled. For an
    aggregator with a fallback, the second request goes to that fallback. Only for chat models."""
    max_retries: int | None = Field(default=None, ge=0, le=20, strict=True)
    """Retries of the provider's client after a temporary failure, honouring `Retry-After`.
    moa_graph adds no retries of its own."""
    max_input_tokens: int | None = Field(default=None, ge=1, strict=True)
    """Context length of the model in tokens, if the package of its provider does not know it.
    References that do not fit are truncated."""
    message_roles: MessageRoles | None = None
    """Messages that the model accepts: `"alternating"` for alternating user and assistant messages
    after at most one system message, `"no_system"` for the same without a system message. Other
    messages are converted. By default any; if the model refuses messages, the call is repeated with
    converted ones, and later calls of the model use them too."""
    starts_in_thought: bool | None = Field(default=None, strict=True)
    """Whether the chat template of the model ends the prompt with `<think>`, so that its answers
    begin with reasoning and `</think>`. Streams then start after `</think>`. If not set, it is
    detected from the first answer of the model."""
    base_url: str | None = None
    """Address of an OpenAI-compatible server, such as `http://localhost:11434/v1`."""
    api_key_env: str | None = None
    """Name of the environment variable with the key. A server at a `base_url` gets no key unless
    this is set."""

    @classmethod
    def describe_errors(cls, error: ValidationError) -> str:
        """Describe the invalid options of an agent."""
        return describe_option_errors(error, cls.model_fields)

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
            if provider.replays_files and folder:  # paths in a file are relative to it
                return f"{provider.name}:{Path(folder, Path(name).expanduser())}"
        elif not callable(getattr(model, "invoke", None)) or inspect.isclass(model):
            raise ValueError(
                f"expected 'provider:model' or a runnable, got {model!r}"
            )  # reported by pydantic
        return model

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Reject options that would silently have no effect."""
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
        # An invalid name may be a key, so the error does not repeat it.
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("expected the name of an environment variable, such as 'VLLM_API_KEY'")
        return name

    def takes_option(self, option: str) -> bool:
        """Whether one of `MODEL_OPTIONS` has an effect, as far as its provider knows."""
        return isinstance(self.model, str) and split_label(self.model)[0].takes_option(option)

    @property
    def _takes_choices(self) -> bool:
        """Whether a request of its model accepts `n`."""
        if isinstance(self.model, str):
            return split_label(self.model)[0].supports_choices
        from moa_graph.models.adapt import supports_choices  # noqa: PLC0415  # loaded with the model

        return supports_choices(self.model)

    @property
    def call_timeout(self) -> float | None:
        """Seconds that a call may take; `None` for no limit."""
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
        """Name of the model: `provider:model`, or the name of the runnable."""
        if isinstance(self.model, str):
            return self.model
        from moa_graph.models.configurable import default_model, is_configurable  # noqa: PLC0415  # LangChain

        model = default_model(self.model) if is_configurable(self.model) else self.model
        for attribute in ("model_name", "model", "name"):
            if isinstance(name := getattr(model, attribute, None), str) and name:
                return name
        return type(self.model).__name__


def build_model(agent: Agent, *, retries: bool = True) -> Runnable[Any, Any]:
    """Build the runnable of an agent.

    Args:
        agent: The agent.
        retries: Whether its client may retry after a failure.

    Returns:
        The runnable of the agent, or a chat model of the named provider.

    Raises:
        ValueError: If an option has no effect, if the key is missing or invalid, if an environment
            variable contains an invalid address, if the provider's package rejects the options, or
            if the retries of the client cannot be disabled.
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
    """Make streams of a model hide reasoning that begins in the prompt, if supported."""
    if not hasattr(model, "root_client"):  # not OpenAI's protocol
        return False
    from moa_graph.models.openai.fast_completions import expect_thoughts  # noqa: PLC0415  # slow

    return expect_thoughts(model)


def find_key_variable(agent: Agent) -> str | None:
    """Return the environment variable of an agent's key, if it needs one."""
    if not isinstance(agent.model, str):
        return None
    provider, _ = split_label(agent.model)
    return agent.api_key_env or (None if agent.base_url else provider.key_variable)


def _given_options(agent: Agent) -> dict[str, Any]:
    """Return the `MODEL_OPTIONS` that are set, with the key's variable instead of the key."""
    options = {name: getattr(agent, _OPTION_FIELDS.get(name, name)) for name in MODEL_OPTIONS}
    return {name: value for name, value in options.items() if value is not None}


def _refuse_option(agent: Agent, option: str) -> None:
    """Reject an option that would silently have no effect."""
    if option == "timeout":  # the graph enforces it
        return
    name = _OPTION_FIELDS.get(option, option)
    if option == "joint_samples":
        reason = (
            "its requests do not accept `n` of OpenAI's API; leave it out: each sample is then a "
            "separate request"
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
    """Read the key of an agent; clients require one even if the server does not."""
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
    """Check the addresses in the environment for a provider."""
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
    """Check the keys that a chat model has read from the environment."""
    for name, value in getattr(model, "__dict__", {}).items():
        if read_secret := getattr(value, "get_secret_value", None):
            check_api_key(f"`{name}` of {type(model).__name__}", str(read_secret()))
