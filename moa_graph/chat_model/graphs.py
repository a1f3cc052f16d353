"""What a chat model runs: the graph of its options, and of what a call is given."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

from langchain_core.language_models import BaseChatModel, ModelProfile
from langchain_core.runnables.base import RunnableBindingBase

from moa_graph.chat_model.profile import profile_of
from moa_graph.graph.builder import (
    Compiled,
    MoAGraph,
    Plan,
    create_moa,
)
from moa_graph.graph.spec import Seat
from moa_graph.models.adapt import bind, takes_response_format
from moa_graph.models.agent import Agent
from moa_graph.prompting.tool_text import may_call, told
from moa_graph.redaction import without_keys


class Mixture:
    """What is built of the options of `create_moa`."""

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        self._name, self._options = name, options
        self._plan = create_moa(**options).plan

    def is_of(self, name: str, options: Mapping[str, Any]) -> bool:
        """Whether it was built of these very values."""
        same = (value is self._options[key] for key, value in options.items())
        return name == self._name and all(same)

    def __reduce__(self) -> Any:
        return type(None), ()  # a model that is copied or unpickled builds its own

    def called_with(self, options: Mapping[str, Any]) -> Compiled:
        """Make the graph whose aggregator is called with options.

        Raises:
            ValueError: If they are tools for one that selects.
            NotImplementedError: If the aggregator or a fallback takes none.
        """
        if options.get("tools") and self._plan.final == "select":
            raise ValueError(
                "`tools`: with `final`='select' the aggregator picks a proposal, and calls no "
                "tools; expected a mixture with `final`='write'"
            )
        return self._compile(options) if options else self._plain

    def check_method(self, method: str) -> None:
        """Check that all who may write the answer can be held to a `response_format`.

        Raises:
            ValueError: If one cannot.
        """
        if self._plan.final == "select":
            raise ValueError(
                f"`method`={method!r}: with `final`='select' the aggregator picks a proposal; "
                "expected a mixture with `final`='write'"
            )
        for seat in self._plan.writers:
            model = seat.agent.model if self._options["lazy"] else seat.model
            if not takes_response_format(model):
                raise ValueError(
                    f"`method`={method!r}: `{seat.name}` {seat.agent.label!r} is not known to take "
                    "a `response_format`, as models of 'openai:' and 'together:' do; expected "
                    "'function_calling'"
                )

    @property
    def profile(self) -> ModelProfile | None:
        """What is known of it as a model, without building one that is not."""
        return profile_of(self._plan, lazy=self._options["lazy"])

    @property
    def tokenizer(self) -> Callable[[str], list[int]] | None:
        """What the aggregator was given as `custom_get_token_ids`: others may be downloaded."""
        model = self._plan.writers[0].agent.model
        while isinstance(model, RunnableBindingBase):
            model = model.bound
        return getattr(model, "custom_get_token_ids", None)

    @property
    def labels(self) -> dict[str, Any]:
        """What its models are called."""
        layers = [[seat.agent.label for seat in row.seats] for row in self._plan.rows]
        return {"layers": layers, "aggregator": self._plan.writers[0].agent.label}

    @property
    def identity(self) -> dict[str, Any]:
        """What tells it from others in a trace and in a cache; no keys."""
        rows, (aggregator, *fallbacks) = self._plan.rows, self._plan.writers
        plain = {
            key: value
            for key, value in self._options.items()
            if key not in {"layers", "aggregator", "fallbacks", "lazy"}
        }
        return {
            "layers": [{seat.name: _identity(seat.agent) for seat in row.seats} for row in rows],
            "aggregator": _identity(aggregator.agent),
            "fallbacks": [_identity(seat.agent) for seat in fallbacks],
            **plain,
        }

    @cached_property
    def _plain(self) -> Compiled:
        return self._compile({})

    def _compile(self, options: Mapping[str, Any]) -> Compiled:
        graph = MoAGraph(_called_with(self._plan, options))
        return graph.compile(checkpointer=False, name=self._name)


def _called_with(plan: Plan, options: Mapping[str, Any]) -> Plan:
    """Copy a plan so that its writers are called with options, and the others told of tools."""
    view = partial(told, tools=options.get("tools", ()))
    rows = [
        replace(row, seats=[replace(seat, view=view) for seat in row.seats]) for row in plan.rows
    ]
    if not options:
        return replace(plan, rows=rows)
    models = {seat.node: _bound(seat, options) for seat in plan.writers}
    update: dict[str, Any] = {"models": lambda: models}
    if options.get("tools"):
        update["view"] = may_call
    return replace(plan, rows=rows, writers=[replace(seat, **update) for seat in plan.writers])


def _bound(seat: Seat, options: Mapping[str, Any]) -> Any:
    try:
        return bind(seat.model, options)
    except NotImplementedError as error:
        names = ", ".join(f"`{name}`" for name in options)
        raise NotImplementedError(
            f"`{seat.name}` {seat.agent.label!r} cannot be called with {names}: {error}"
        ) from None


def _identity(agent: Agent) -> dict[str, Any]:
    options = agent.model_dump(exclude={"model"}, exclude_defaults=True)
    if isinstance(agent.model, str):
        return {"model": agent.model, **options}
    text = agent.model.asdict() if isinstance(agent.model, BaseChatModel) else agent.model
    return {"model": agent.label, "is": without_keys(str(text)), **options}
