"""`Provider`: the part before the colon in `"provider:model"`.

`PROVIDERS` lists the providers that this package supports. Others come from installed packages, by
an entry point of the group `moa_graph.providers`, or from LangChain's `init_chat_model`.
Differences between providers are fields of `Provider`; no other code depends on their names.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Literal

from moa_graph.entry_points import load_entry_point
from moa_graph.models.endpoints import split_parameters
from moa_graph.redaction import find_keys, redacted_message

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel

ENTRY_POINT_GROUP = "moa_graph.providers"

OFFLINE_STYLES = (
    "lead",
    "bm25",
    "centroid",
    "textrank",
    "mmr",
    "ngram",
    "consensus",
    "majority",
)
"""Provider of the built-in extractive agents; see `moa_graph.models.offline`."""

DEFAULT_TIMEOUT_S = 600.0
"""Default timeout of a chat model in seconds; equal to that of the openai client."""

ReasoningEffort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
"""Levels of reasoning effort; most models support some of them."""

MODEL_OPTIONS = (
    *("temperature", "top_p", "stop", "max_retries", "base_url", "api_key", "max_tokens"),
    *("timeout", "stream_chunk_timeout", "reasoning_effort"),
)
"""Keyword arguments of `Provider.build`, besides `model`."""

_OPENAI_SERVICES = {"openai", "azure_openai"}
"""Providers of `init_chat_model` that use OpenAI's environment variables."""
_NAME_SIMILARITY = 0.75  # ratio from 0 to 1: `anthropc` is close to `anthropic`


@dataclass(frozen=True, kw_only=True)
class Provider:
    """A provider of models.

    A package adds a provider with an entry point of the group `moa_graph.providers`; see
    `examples/provider`.
    """

    name: str
    """Name before the colon."""
    build: Callable[..., Any]
    """Builds a chat model. Its keyword arguments are `model`, the name after the colon, and the
    options of `MODEL_OPTIONS` that are set. It can be the class of a chat model. `api_key` is the
    key itself, read from `key_variable` or from the variable that the user names."""
    key_variable: str | None = None
    """Environment variable with the key; `None` if no key is needed, or if the chat model finds it
    itself."""
    options: Collection[str] | None = None
    """Options of `MODEL_OPTIONS` that have an effect; others are errors. By default those that are
    a field of the chat model's class, or its alias. `timeout` always works, because the graph
    limits each call itself."""
    option_names: Mapping[str, str | None] = field(default_factory=dict)
    """Other names of options in `build`; `None` for an option without effect."""
    model_names: Sequence[str] | None = None
    """Names of all models, if the set is fixed."""
    supports_response_format: bool = False
    """Whether a call accepts OpenAI's `response_format`."""
    supports_choices: bool = False
    """Whether a call accepts OpenAI's `n` and returns as many answers."""
    price_provider: str | None = None
    """Provider of the prices in `genai-prices`; by default `name`."""
    has_ollama_api: bool = False
    """Whether a server at a `base_url` speaks Ollama's own protocol, not OpenAI's."""
    address_variables: Sequence[str] = ()
    """Environment variables that can contain the address of its server."""
    environment_prefixes: Collection[str] = ()
    """Further prefixes of its environment variables, besides its name: `AWS`. The variables are
    passed to workers on other machines."""
    is_language_model: bool = True
    """Whether a language model is called; others cost nothing."""
    replays_files: bool = False
    """Whether a model's name is a file of stored outputs, `PATH` or `PATH#PROPOSAL`."""

    @property
    def is_free(self) -> bool:
        """Whether its calls cost nothing."""
        return self.replays_files or not self.is_language_model

    @property
    def variable_prefixes(self) -> set[str]:
        """Prefixes of its environment variables, up to the first `_`."""
        return {*self.name.upper().split("_"), *self.environment_prefixes}

    def check_model_name(self, model: str) -> None:
        """Reject a model that does not exist.

        Raises:
            ValueError: If it does not.
        """
        if self.model_names is not None and model not in self.model_names:
            raise ValueError(
                f"expected '{self.name}:' and one of {', '.join(self.model_names)}, "
                f"got '{self.name}:{model}'"
            )

    def takes_option(self, option: str) -> bool:
        """Return whether an option has an effect, as far as the provider declares it."""
        is_declared = self.options is None or option in self.options
        return is_declared and self.option_names.get(option, option) is not None

    def build_model(self, model: str, options: Mapping[str, Any]) -> tuple[Any, list[str]]:
        """Build a chat model.

        Args:
            model: The name after the colon.
            options: The `MODEL_OPTIONS` that are set.

        Returns:
            The chat model, and the options that have no effect on it.

        Raises:
            ValueError: If the provider's package rejects an option.
            ImportError: If that package is not installed.
        """
        keywords = {n: self.option_names.get(n) or n for n in options if self.takes_option(n)}
        chat_model = self._build_with(model, options, keywords)
        if self.options is None:
            fields = _field_names(chat_model)
            accepted = {name: keyword for name, keyword in keywords.items() if keyword in fields}
            if accepted != keywords:  # some chat models send unknown options to the server
                chat_model, keywords = self._build_with(model, options, accepted), accepted
        refused = _options_refused_by_model(chat_model, options)
        return chat_model, [n for n in options if n not in keywords or n in refused]

    def _build_with(
        self, model: str, options: Mapping[str, Any], keywords: Mapping[str, str]
    ) -> Any:
        return self.build(model=model, **{keywords[name]: options[name] for name in keywords})


def split_label(label: str) -> tuple[Provider, str]:
    """Split `provider:model`.

    Raises:
        ValueError: If the package that adds the provider is invalid.
    """
    name, _, model = label.partition(":")
    return find_provider(name), model


def provider_of(label: str) -> Provider:
    """Return the provider of a label, which may be the name of a runnable or an old stored label.

    An unknown provider is treated as an ordinary language model.
    """
    name, colon, _ = label.partition(":")
    with suppress(ValueError):
        if colon:
            return find_provider(name)
    return _langchain_provider(name)


def replayed_file(label: str) -> str | None:
    """Return the file of stored outputs that a label names; `None` for other labels."""
    model = label.partition(":")[2]
    return model.partition("#")[0] if provider_of(label).replays_files else None


def find_provider(name: str) -> Provider:
    """Return a provider by name; an unknown one is built by `init_chat_model`.

    Raises:
        ValueError: If the package that adds it is invalid.
    """
    if provider := PROVIDERS.get(name):
        return provider
    if point := _added_providers(tuple(sys.path)).get(name):
        return _load_provider(point)
    return _langchain_provider(name)


@lru_cache(maxsize=8)
def _added_providers(_path: tuple[str, ...]) -> Mapping[str, EntryPoint]:
    """Return the entry points of installed providers without importing them."""
    return {point.name: point for point in entry_points(group=ENTRY_POINT_GROUP)}


@cache
def _load_provider(point: EntryPoint) -> Provider:
    provider: Provider = load_entry_point(point, Provider)
    if unknown := {*(provider.options or ()), *provider.option_names} - {*MODEL_OPTIONS}:
        raise ValueError(
            f"provider {point.name!r} ({point.value}): no options {', '.join(sorted(unknown))}; "
            f"expected one of: {', '.join(MODEL_OPTIONS)}"
        )
    return replace(provider, build=partial(_build_by_package, provider.name, provider.build))


def _options_refused_by_model(chat_model: Any, options: Mapping[str, Any]) -> set[str]:
    """Return the options that a model does not accept, according to the profiles of its package.

    Raises:
        ValueError: If it accepts one, but not this value.
    """
    if "base_url" in options:  # another server's model may have the same name
        return set()
    profile: Mapping[str, Any] = getattr(chat_model, "profile", None) or {}
    refused, effort = set[str](), options.get("reasoning_effort")
    levels = profile.get("reasoning_effort_levels")
    if effort and profile.get("reasoning_output") is False:
        refused.add("reasoning_effort")
    elif effort and levels and effort not in levels:
        raise ValueError(
            f"`reasoning_effort`={effort!r}: {profile.get('name', 'the model')} accepts one of: "
            f"{', '.join(levels)}"
        )
    if (temperature := options.get("temperature")) not in {None, 1}:
        was_dropped = getattr(chat_model, "temperature", temperature) != temperature
        if was_dropped or (profile.get("temperature") is False and effort != "none"):
            refused.add("temperature")
    return refused


def _field_names(chat_model: Any) -> set[str]:
    """Return the constructor fields of the class of a chat model."""
    while hasattr(chat_model, "bound"):
        chat_model = chat_model.bound
    fields = getattr(type(chat_model), "model_fields", {})
    return {*fields, *(each.alias for each in fields.values() if each.alias)}


def _build_by_package(
    provider: str, build: Callable[..., Any], *, model: str, **options: Any
) -> Any:
    """Build with the code of a package; raise its errors in one line, without keys."""
    title = f"model '{provider}:{model}': "
    try:
        chat_model = build(model=model, **options)
    except ImportError as error:
        raise ImportError(f"{title}{_suggest_provider(provider, model)}{error}") from None
    except Exception as error:  # noqa: BLE001  # each package has its own
        text = redacted_message(error, *find_keys(options))
        raise ValueError(f"{title}{_suggest_provider(provider, model)}{text}") from None
    if getattr(chat_model, "invoke", None) is None:
        type_name = type(chat_model).__name__
        raise ValueError(
            f"{title}provider {provider!r}: expected a chat model of `build`, got {type_name}"
        )
    return chat_model


def _suggest_provider(provider: str, model: str) -> str:
    """Return a suggestion of the known provider closest to an unknown one."""
    import difflib

    names = {*PROVIDERS, *_added_providers(tuple(sys.path))}
    if provider in names:
        return ""
    nearest = difflib.get_close_matches(provider.lower(), names, n=1, cutoff=_NAME_SIMILARITY)
    return f"did you mean '{nearest[0]}:{model}'? " if nearest else ""


def _build_offline_model(*, model: str, max_tokens: int | None = None) -> BaseChatModel:
    from moa_graph.models.offline import OfflineModel

    return OfflineModel(style=model, max_tokens=max_tokens)


def _build_recorded_model(*, model: str) -> BaseChatModel:
    from moa_graph.models.recorded import RecordedModel

    path, _, node = model.partition("#")
    recorded = RecordedModel(path=path, node=node or None)
    recorded.read_outputs()  # report errors before the first call
    return recorded


def _build_openai_model(**options: Any) -> BaseChatModel:
    from langchain_openai import ChatOpenAI

    from moa_graph.models.openai.compatible import (
        CompatibleChatOpenAI,
        is_openai_address,
    )

    if not is_openai_address(options.get("base_url")):
        if "max_tokens" in options:
            # OpenAI requires `max_completion_tokens`, which Ollama and others do not support.
            options["extra_body"] = {"max_tokens": options.pop("max_tokens")}
        return _build_compatible_model(CompatibleChatOpenAI, options)
    proxy = os.environ.get("OPENAI_PROXY") or None
    return _build_fast_model(ChatOpenAI, options | {"openai_proxy": None}, proxy=proxy)


def _build_together_model(**options: Any) -> BaseChatModel:
    from langchain_together import ChatTogether

    return _build_compatible_model(ChatTogether, options)


def _build_compatible_model(
    chat_model: Callable[..., BaseChatModel], options: Mapping[str, Any]
) -> BaseChatModel:
    from moa_graph.models.openai.compatible import (
        COMPATIBLE_OPTIONS,
        use_explicit_options,
    )

    def build(**keywords: Any) -> BaseChatModel:
        model = chat_model(**keywords, **COMPATIBLE_OPTIONS)
        use_explicit_options(model, options)
        return model

    return _build_fast_model(build, options)


def _build_fast_model(
    build: Callable[..., BaseChatModel], options: Mapping[str, Any], *, proxy: str | None = None
) -> BaseChatModel:
    from moa_graph.models.openai.clients import bound_requests, shared_clients
    from moa_graph.models.openai.fast_completions import use_fast_completions

    if url := options.get("base_url"):  # the client would append the path after the parameters
        bare_url, parameters = split_parameters(url)
        options = {**options, "base_url": bare_url}
        options |= {"default_query": parameters} if parameters else {}
    model = build(**options, stream_usage=True, **shared_clients(proxy))
    bound_requests(model, options.get("timeout", DEFAULT_TIMEOUT_S))
    use_fast_completions(model)
    return model


def _init_langchain_model(provider: str, *, model: str, **options: Any) -> Any:
    if importlib.util.find_spec("langchain") is None:
        *names, last = (repr(each.name) for each in _BUILT_IN)
        raise ImportError(
            f"{', '.join(names)} and {last} are built in; for provider {provider!r} install "
            "the package that adds it, or LangChain and its package: "
            f"pip install langchain langchain-{provider.replace('_', '-')}"
        )
    from langchain.chat_models import init_chat_model

    if split_parameters(options.get("base_url") or "")[1]:
        raise ValueError(
            f"`base_url`={options['base_url']!r}: expected a URL without parameters; give a chat "
            "model that is set up with them"
        )
    chat_model = init_chat_model(model, model_provider=provider, **options)
    if getattr(chat_model, "root_async_client", None) and provider not in _OPENAI_SERVICES:
        from moa_graph.models.openai.compatible import drop_environment_headers

        drop_environment_headers(chat_model)
    return chat_model


def _langchain_provider(name: str, **fields: Any) -> Provider:
    build = partial(_build_by_package, name, partial(_init_langchain_model, name))
    return Provider(name=name, build=build, **fields)


_BUILT_IN = (
    Provider(
        name="openai",
        build=_build_openai_model,
        key_variable="OPENAI_API_KEY",
        address_variables=("OPENAI_API_BASE", "OPENAI_BASE_URL"),
        options=MODEL_OPTIONS,
        supports_response_format=True,
        supports_choices=True,
    ),
    Provider(
        name="together",
        build=_build_together_model,
        key_variable="TOGETHER_API_KEY",
        address_variables=("TOGETHER_API_BASE",),
        options=MODEL_OPTIONS,
        supports_response_format=True,
        supports_choices=True,
    ),
    Provider(
        name="offline",
        build=_build_offline_model,
        options=("max_tokens",),
        model_names=OFFLINE_STYLES,
        is_language_model=False,
    ),
    Provider(name="recorded", build=_build_recorded_model, options=(), replays_files=True),
)

_LANGCHAIN = (  # providers of `init_chat_model` with differences
    _langchain_provider("anthropic_bedrock", environment_prefixes=("AWS",)),
    _langchain_provider("azure_openai", supports_response_format=True, supports_choices=True),
    _langchain_provider("bedrock", environment_prefixes=("AWS",)),
    _langchain_provider("bedrock_converse", environment_prefixes=("AWS",)),
    _langchain_provider(
        "cohere",
        option_names={
            "api_key": "cohere_api_key",
            "timeout": "timeout_seconds",
            "stop": None,  # a field of its chat model without effect
        },
        environment_prefixes=("CO",),
    ),
    _langchain_provider("google_genai", environment_prefixes=("GEMINI",)),
    _langchain_provider("huggingface", environment_prefixes=("HF", "HUGGINGFACEHUB")),
    _langchain_provider("ibm", environment_prefixes=("WATSONX",)),
    _langchain_provider("mistralai", environment_prefixes=("MISTRAL",)),
    _langchain_provider("ollama", option_names={"max_tokens": "num_predict"}, has_ollama_api=True),
    _langchain_provider("perplexity", environment_prefixes=("PPLX",)),
    # Providers without differences, for suggestions of mistyped names.
    *map(_langchain_provider, ("anthropic", "deepseek", "fireworks", "google_vertexai", "groq")),
    *map(_langchain_provider, ("nvidia", "openrouter", "xai")),
)

PROVIDERS: Mapping[str, Provider] = {each.name: each for each in (*_BUILT_IN, *_LANGCHAIN)}
"""The supported providers, by name."""
