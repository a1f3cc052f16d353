"""What this process has learned of a model from its answers and refusals."""

import threading
import weakref
from collections.abc import Hashable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from typing_extensions import TypedDict  # Python 3.11's own has no JSON schema

from moa_graph.models.agent import Agent
from moa_graph.prompting.refusals import MessageRoles

MAX_MODELS = 1024  # models by name of which something is remembered

_PRIOR_TOKENS = 200.0  # tokens for which the estimate is taken to be right before any is counted
_MEMORY_TOKENS = 20_000.0  # estimated tokens after which half of what was counted is forgotten
_MAX_RATIO = 8.0  # what is counted beside this is of something else than the text

_lock = threading.Lock()
_traits_by_object: dict[int, tuple[Any, "ModelTraits"]] = {}


class ModelLimits(TypedDict):
    """How long a prompt of a model may be. All values are plain: a checkpoint holds them."""

    context_tokens: int | None
    """Tokens that a prompt and its answer may have together; `None` if that is not known."""
    token_ratio: float
    """Tokens that the model counts for each that is estimated."""


@dataclass(eq=False)
class ModelTraits:
    """What answers and refusals said of a model; may be used from several threads."""

    message_roles: MessageRoles | None = None
    """Which messages it takes, if it has refused some."""
    context_tokens: int | None = None
    """Tokens that a prompt and its answer may have together, as its server has said."""
    max_choices: int | None = None
    """How many choices a request may ask for, if it has refused more."""
    context_reading: "Future[None] | None" = None
    """The question for it that its server was asked, once."""
    _estimated: float = _PRIOR_TOKENS
    _counted: float = _PRIOR_TOKENS

    def __deepcopy__(self, _: object) -> "ModelTraits":
        """Share it: a copy of a graph asks the same models."""
        return self

    def __reduce__(self) -> tuple[type["ModelTraits"], tuple[()]]:
        """Leave it behind where a graph is sent to another process, which learns itself."""
        return type(self), ()

    @property
    def token_ratio(self) -> float:
        """Tokens that the model counts for each that is estimated, over its last prompts."""
        return round(self._counted / self._estimated, 3)

    def learn_prompt_size(self, estimated: int, counted: object) -> None:
        """Take in how many tokens a prompt had that was estimated at so many."""
        if not isinstance(counted, int) or not 1 / _MAX_RATIO < counted / estimated < _MAX_RATIO:
            return
        with _lock:
            fade = 0.5 if self._estimated > _MEMORY_TOKENS else 1.0
            self._estimated = self._estimated * fade + estimated
            self._counted = self._counted * fade + counted


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
