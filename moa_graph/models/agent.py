"""From the name of a model to a chat model: `"provider:model"`, with its options."""

from __future__ import annotations

import importlib.util
import inspect
import os
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self, cast
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from moa_graph.redaction import redacted_message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.runnables import Runnable

    Model = str | Runnable[Any, Any]
else:
    Model = Any  # the name alone costs no import of LangChain

OFFLINE_STYLES = ("lead", "bm25", "centroid", "textrank", "mmr", "ngram", "consensus")
"""The built-in extractive agents; see `moa_graph.models.offline`."""

Samples = Annotated[int, Field(ge=1, le=100, strict=True)]
Temperature = Annotated[float, Field(ge=0, le=2, strict=True)]

KEY_VARIABLES = {"openai": "OPENAI_API_KEY", "together": "TOGETHER_API_KEY"}
"""The environment variable that holds the key of each built-in provider."""

_PROVIDER_OPTIONS = ("temperature", "top_p", "stop", "max_retries", "base_url", "api_key_env")


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
    temperature: Temperature | None = None
    """Sampling temperature."""
    top_p: float | None = Field(default=None, gt=0, le=1, strict=True)
    """The share of probability from which words are drawn."""
    max_tokens: int | None = Field(default=None, ge=1, strict=True)
    """The most tokens that an answer may have."""
    stop: list[str] | None = None
    """Texts at which an answer ends; they are not part of it."""
    timeout: float | None = Field(default=None, gt=0, strict=True)
    """Seconds that a call may take in all, its retries among them."""
    max_retries: int | None = Field(default=None, ge=0, le=20, strict=True)
    """How often the provider's client asks again after a failure that may pass; it heeds
    `Retry-After`. Nobody else retries."""
    max_input_tokens: int | None = Field(default=None, ge=1, strict=True)
    """Size of the model's context, where its provider's package does not know it. References
    that do not fit are cut."""
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
                    f"expected 'provider:model', such as 'openai:gpt-4o', got {model!r}"
                )
            provider, _, name = model.partition(":")
            if provider == "offline" and name not in OFFLINE_STYLES:
                raise ValueError(
                    f"expected 'offline:' and one of {', '.join(OFFLINE_STYLES)}, got {model!r}"
                )
            if provider == "recorded" and info.context:  # a path in a file is relative to it
                return f"recorded:{Path(info.context['folder'], Path(name).expanduser())}"
        elif not callable(getattr(model, "invoke", None)) or inspect.isclass(model):
            raise ValueError(
                f"expected 'provider:model' or a runnable, got {model!r}"
            )  # pydantic reports it
        return model

    @model_validator(mode="after")
    def _check_options(self) -> Self:
        """Refuse options that would silently have no effect."""
        names = list[str]()
        if not isinstance(self.model, str) or self.model.startswith("recorded:"):
            names = [*_PROVIDER_OPTIONS, "max_tokens"]
        elif self.model.startswith("offline:"):
            names = [*_PROVIDER_OPTIONS]
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(
                    f"`{name}`={getattr(self, name)!r} has no effect on {self.label!r}; it applies "
                    "to language models that are given as 'provider:model'"
                )
        return self

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        parts = urlsplit(url or "http://host")
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise ValueError(f"expected a URL, such as 'http://localhost:11434/v1', got {url!r}")
        if parts.username or parts.password:
            raise ValueError("expected a URL without a password; name its variable in api_key_env")
        return url

    @field_validator("api_key_env")
    @classmethod
    def _check_variable(cls, name: str | None) -> str | None:
        # What is no name of a variable may be a key: it is not repeated.
        if name is not None and not re.fullmatch(r"[A-Z_][A-Z0-9_]*", name):
            raise ValueError("expected the name of an environment variable, such as 'VLLM_API_KEY'")
        return name

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


def build_model(agent: Agent) -> Runnable[Any, Any]:
    """Build what an agent asks.

    Args:
        agent: The agent.

    Returns:
        The runnable of the agent, or a chat model of the named provider.

    Raises:
        ValueError: If the key is missing, or the provider's package refuses the options.
        ImportError: If the provider's package is not installed.
    """
    if not isinstance(agent.model, str):
        return agent.model
    provider, _, name = agent.model.partition(":")
    match provider:
        case "offline":
            from moa_graph.models.offline import OfflineModel  # noqa: PLC0415

            return OfflineModel(style=name, max_tokens=agent.max_tokens)
        case "recorded":
            return _build_recorded_model(name)
        case "openai":
            return _build_openai_model(agent, name)
        case "together":
            return _build_together_model(agent, name)
        case _:
            return _build_langchain_model(agent, provider, name)


def find_key_variable(agent: Agent) -> str | None:
    """Name the environment variable that holds the key of an agent, if it needs one."""
    if not isinstance(agent.model, str):
        return None
    provider = agent.model.partition(":")[0]
    return agent.api_key_env or (None if agent.base_url else KEY_VARIABLES.get(provider))


def _build_recorded_model(name: str) -> BaseChatModel:
    from moa_graph.models.recorded import RecordedModel  # noqa: PLC0415

    path, _, node = name.partition("#")
    model = RecordedModel(path=path, node=node or None)
    model.read_outputs()  # a mistake shows before the first call
    return model


def _build_openai_model(agent: Agent, name: str) -> BaseChatModel:
    from langchain_openai import ChatOpenAI  # noqa: PLC0415

    from moa_graph.models.openai.clients import shared_clients  # noqa: PLC0415
    from moa_graph.models.openai.fast_completions import use_fast_completions  # noqa: PLC0415

    options = _constructor_options(agent)
    if agent.base_url and agent.max_tokens:
        # OpenAI itself wants `max_completion_tokens`, which Ollama and others do not know.
        options["extra_body"] = {"max_tokens": options.pop("max_tokens")}
    return use_fast_completions(ChatOpenAI(model=name, **options, **shared_clients()))


def _build_together_model(agent: Agent, name: str) -> BaseChatModel:
    from langchain_together import ChatTogether  # noqa: PLC0415

    from moa_graph.models.openai.clients import shared_clients  # noqa: PLC0415
    from moa_graph.models.openai.fast_completions import use_fast_completions  # noqa: PLC0415

    return use_fast_completions(
        ChatTogether(model=name, **_constructor_options(agent), **shared_clients())
    )


def _build_langchain_model(agent: Agent, provider: str, name: str) -> BaseChatModel:
    if importlib.util.find_spec("langchain") is None:
        raise ImportError(
            f"model {agent.model!r}: 'openai', 'together', 'offline' and 'recorded' are built in; "
            "for provider "
            f"{provider!r} install LangChain and its package: "
            f"pip install langchain langchain-{provider.replace('_', '-')}"
        )
    from langchain.chat_models import init_chat_model  # noqa: PLC0415

    options = _constructor_options(agent)
    options.pop("stream_usage")
    if provider == "ollama" and "max_tokens" in options:
        options["num_predict"] = options.pop("max_tokens")
    try:
        return cast("BaseChatModel", init_chat_model(name, model_provider=provider, **options))
    except ImportError as error:
        raise ImportError(f"model {agent.model!r}: {error}") from None
    except Exception as error:  # noqa: BLE001  # each package has its own
        raise ValueError(f"model {agent.model!r}: {redacted_message(error)}") from None


def _constructor_options(agent: Agent) -> dict[str, Any]:
    """Constructor arguments that the chat models of all providers share."""
    variable = find_key_variable(agent)
    if variable and not os.environ.get(variable):
        raise ValueError(
            f"model {agent.model!r} needs a key: set the environment variable {variable}"
        )
    names = ("temperature", "top_p", "max_tokens", "stop", "timeout", "max_retries")
    given = {name: getattr(agent, name) for name in names}
    options: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if agent.base_url:
        options |= {"base_url": agent.base_url, "api_key": "none"}
    if agent.api_key_env:
        options["api_key"] = os.environ[agent.api_key_env]
    return {**options, "stream_usage": True}
