"""What this process has learned of a model from its answers and refusals."""

import threading
import weakref
from collections.abc import Hashable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from moa_graph.models.agent import Agent
from moa_graph.prompting.refusals import MessageRoles

MAX_MODELS = 1024  # models by name of which something is remembered

_lock = threading.Lock()
_traits_by_object: dict[int, tuple[Any, "ModelTraits"]] = {}


@dataclass(eq=False)
class ModelTraits:
    """What answers and refusals said of a model; may be used from several threads."""

    message_roles: MessageRoles | None = None
    """Which messages it takes, if it has refused some."""


def traits_of(agent: Agent) -> ModelTraits:
    """Give what is known of an agent's model: the same for the same model, whoever asks it."""
    if isinstance(agent.model, str):
        with _lock:
            return _traits_by_name(agent.model, agent.base_url)
    return _traits_of_object(agent.model)


@lru_cache(maxsize=MAX_MODELS)
def _traits_by_name(*_: Hashable) -> ModelTraits:
    return ModelTraits()


def _traits_of_object(model: Any) -> ModelTraits:
    """Find the traits of an object, which are forgotten when it is."""
    key = id(model)
    with _lock:
        reference, traits = _traits_by_object.get(key, (None, ModelTraits()))
        if reference and reference() is model:
            return traits
        traits = ModelTraits()
        try:
            reference = weakref.ref(model, lambda _: _traits_by_object.pop(key, None))
        except TypeError:  # it cannot be referred to so: whoever asks it keeps its traits
            return traits
        _traits_by_object[key] = reference, traits
        return traits
