"""Models whose fields the `config` of a call sets.

They are created by `configurable_fields`, `configurable_alternatives` and
`init_chat_model(configurable_fields=…)`. Each call builds the model for its config. Adaptations
that plain models get once are applied to that model.
"""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import cached_property
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langchain_core.runnables.configurable import DynamicRunnable, RunnableConfigurableAlternatives

Convert = Callable[[Any], Any]

_THREAD_KEYS = {"checkpoint_id", "checkpoint_map", "checkpoint_ns", "run_id", "thread_id"}


class ConfigurableModel(Runnable[Any, Any]):
    """A model that each call builds from its config, and then adapts."""

    def __init__(self, model: Any, convert: Convert) -> None:
        self._model, self._convert = model, convert
        self._last: tuple[Any, Any] = (None, None)

    def converted(self, convert: Convert) -> "ConfigurableModel":
        """Copy it with one more adaptation of the model of a call."""
        return ConfigurableModel(self._model, lambda model: convert(self._convert(model)))

    @cached_property
    def default(self) -> Any:
        """The model of a call without a config; `None` if there is none."""
        model = default_model(self._model)
        return model and self._convert(model)

    @property
    def profile(self) -> Any:
        """The profile of the default model."""
        return getattr(self.default, "profile", None)

    def _complete_model(self, config: RunnableConfig | None) -> tuple[Any, RunnableConfig | None]:
        if isinstance(self._model, DynamicRunnable):
            model, config = self._model.prepare(config)
        else:
            model = _initialize_model(self._model, config)
        last_model, converted = self._last
        if model is not last_model:
            converted = self._convert(model)
            self._last = (model, converted)
        return converted, config

    def invoke(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> Any:
        """Call the model for the config."""
        model, config = self._complete_model(config)
        return model.invoke(input, config, **options)

    async def ainvoke(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Any:
        """Call the model for the config."""
        model, config = self._complete_model(config)
        return await model.ainvoke(input, config, **options)

    def stream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> Iterator[Any]:
        """Stream from the model for the config."""
        model, config = self._complete_model(config)
        yield from model.stream(input, config, **options)

    async def astream(
        self,
        input: Any,
        config: RunnableConfig | None = None,
        **options: Any,
    ) -> AsyncIterator[Any]:
        """Stream from the model for the config."""
        model, config = self._complete_model(config)
        async for each in model.astream(input, config, **options):
            yield each


def is_configurable(model: Any) -> bool:
    """Return whether the config of a call sets fields of a model."""
    # The class behind `init_chat_model` is private, and LangChain may not be installed.
    return isinstance(model, DynamicRunnable) or hasattr(type(model), "_model_params")


def default_model(model: Any) -> Any:
    """Return the model of a call without a config; `None` if there is none."""
    try:
        if isinstance(model, DynamicRunnable):
            return model.prepare({})[0]
        return _initialize_model(model, {})
    except Exception:  # noqa: BLE001  # no model was named, or it lacks its key: a call may bring them
        return None


def possible_models(model: Any) -> list[Any]:
    """Return the models that a configurable one can become, as far as they are built."""
    others = model.alternatives.values() if _has_alternatives(model) else ()
    candidates = [default_model(model), *others]
    return [each for each in candidates if isinstance(each, Runnable)]


def _initialize_model(model: Any, config: RunnableConfig | None) -> Any:
    """Create the model of `init_chat_model` without LangGraph's own config values."""
    values = (config or {}).get("configurable", {})
    options = {k: v for k, v in values.items() if k not in _THREAD_KEYS and not k.startswith("__")}
    return model._model({"configurable": options})  # noqa: SLF001  # LangChain has no other way


def _has_alternatives(model: Any) -> bool:
    return isinstance(model, RunnableConfigurableAlternatives)
