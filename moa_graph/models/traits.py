"""Traits of a model that this process observed in its answers and refusals."""

import threading
import weakref
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.models.agent import Agent
from moa_graph.prompting.refusals import MessageRoles

MAX_MODELS = 1024  # models whose traits are remembered

_PRIOR_TOKENS = 200.0  # weight, in tokens, of the initial estimate
_MEMORY_TOKENS = 20_000.0  # estimated tokens after which older counts are halved
_MAX_RATIO = 8.0  # ratios outside are not about the text

_lock = threading.Lock()
_traits_by_object: dict[int, tuple[Any, "ModelTraits"]] = {}


class ModelLimits(TypedDict):
    """Limits of a model's prompt. All values are plain, for checkpoints."""

    context_tokens: int | None
    """Context length in tokens; `None` if it is unknown."""
    token_ratio: float
    """Tokens of the model for each estimated token."""


@dataclass(eq=False)
class ModelTraits:
    """Observed traits of a model; thread-safe."""

    message_roles: MessageRoles | None = None
    """Message roles that it accepts, if it has refused others."""
    context_tokens: int | None = None
    """Context length in tokens, as its server reported it."""
    max_choices: int | None = None
    """Maximum number of choices of a request, if it has refused more."""
    refuses_forms: bool = False
    """Whether it has refused structured output."""
    context_reading: "Future[None] | None" = None
    """The request for its context length, which is sent once."""
    _estimated: float = _PRIOR_TOKENS
    _counted: float = _PRIOR_TOKENS

    def __deepcopy__(self, _: object) -> "ModelTraits":
        """Share the traits with a copy of the graph, which calls the same models."""
        return self

    def __reduce__(self) -> tuple[type["ModelTraits"], tuple[()]]:
        """Drop the traits if a graph is sent to another process, which observes its own."""
        return type(self), ()

    @property
    def token_ratio(self) -> float:
        """Tokens of the model for each estimated token, over its last prompts."""
        return round(self._counted / self._estimated, 3)

    def learn_prompt_size(self, estimated: int, counted: object) -> None:
        """Record the number of tokens of a prompt and its estimate."""
        if not isinstance(counted, int) or not 1 / _MAX_RATIO < counted / estimated < _MAX_RATIO:
            return
        with _lock:
            fade = 0.5 if self._estimated > _MEMORY_TOKENS else 1.0
            self._estimated = self._estimated * fade + estimated
            self._counted = self._counted * fade + counted


def traits_of(agent: Agent) -> ModelTraits:
    """Return the traits of an agent's model: all agents with the same model share them."""
    if isinstance(agent.model, str):
        with _lock:
            return traits_by_name(agent.model, agent.base_url)
    return _traits_of_object(agent.model)


@lru_cache(maxsize=MAX_MODELS)
def traits_by_name(*_: Hashable) -> ModelTraits:
    """Return the traits of a model by its name and the address of its server."""
    return ModelTraits()


def _traits_of_object(model: Any) -> ModelTraits:
    """Return the traits of a model object, which end with the object."""
    key = id(model)
    with _lock:
        reference, traits = _traits_by_object.get(key, (None, ModelTraits()))
        if reference and reference() is model:
            return traits
        traits = ModelTraits()
        try:
            reference = weakref.ref(model, lambda _: _traits_by_object.pop(key, None))
        except TypeError:  # no weak references: each agent keeps its own traits
            return traits
        _traits_by_object[key] = reference, traits
        return traits
