"""Who judges: any chat model, or the stand-in that counts words."""

import asyncio
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import TypeAdapter, ValidationError

from moa_graph.config.model import Price
from moa_graph.evals.call_store import Ledger
from moa_graph.evals.judging import overlap
from moa_graph.evals.judging.cases import Case, Method
from moa_graph.evals.results_file import Row
from moa_graph.evals.systems import options_of
from moa_graph.models.adapt import adapt
from moa_graph.models.agent import Agent, build_model

_OPTIONS = ("temperature", "max_tokens")
_OWN_OPTIONS = ("top_p", "stop", "base_url")  # which no benchmark sets
_Prices = TypeAdapter(dict[str, tuple[Price, Price]])


@dataclass(frozen=True)
class Judge:
    """A judge, before it knows the benchmark."""

    agent: Agent | None
    """`None` for the stand-in."""
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What it is called: `provider:model`."""
        return self.agent.label if self.agent else overlap.LABEL

    @property
    def is_language_model(self) -> bool:
        """Whether it can read."""
        return self.agent is not None

    def settings(self, method: Method) -> dict[str, Any]:
        """Give what it is asked with: what the benchmark sets, unless it has options of its own."""
        if not self.agent:
            return {}
        own = {name: getattr(self.agent, name) for name in (*_OPTIONS, *_OWN_OPTIONS)}
        known = _as_published(method)
        return {name: known[name] if own[name] is None else own[name] for name in own}

    def is_official(self, method: Method) -> bool:
        """Tell whether it is the benchmark's own judge, asked as the benchmark asks."""
        return self.label == method.official and self.settings(method) == _as_published(method)


class Bench:
    """A judge at work on a benchmark, through a ledger; its model is built at once.

    Raises:
        ValueError: If a key is missing, or the model cannot be built.
    """

    def __init__(self, judge: Judge, method: Method, ledger: Ledger) -> None:
        self._method, self._agent = method, None
        if judge.agent:
            settings = {name: judge.settings(method)[name] for name in _OPTIONS}
            self._agent = agent = judge.agent.model_copy(update=settings)
            model = build_model(agent)
            given = options_of(agent, model)
            self._wrap = partial(ledger.wrap, adapt(model, hidden=True), agent.label, given)

    async def judge(self, case: Case) -> Row:
        """Have a case judged.

        Raises:
            CallError: If there is no judgement; the text says why.
        """
        if (settled := self._method.settled(case)) is not None:
            return settled
        return self._method.read(case, await self._ask(case))

    async def _ask(self, case: Case) -> AIMessage:
        if not self._agent:
            return overlap.judge(self._method, case)
        model = self._wrap(check=partial(self._method.read, case))
        async with asyncio.timeout(self._agent.timeout):
            return await model.ainvoke(self._method.messages(case), **self._method.asked)


def _as_published(method: Method) -> dict[str, Any]:
    own = {name: getattr(method, name) for name in _OPTIONS}
    return own | dict.fromkeys(_OWN_OPTIONS)


def read_judge(named: str) -> Judge:
    """Read who is to judge.

    Args:
        named: `provider:model`, `offline:overlap`, or the path of a TOML file with `model` and
            other options of an `Agent`, and perhaps `prices` as in a mixture.

    Raises:
        ValueError: If it is none of these.
    """
    if named == overlap.LABEL:
        return Judge(None)
    if named.startswith(("offline:", "recorded:")):
        raise ValueError(
            f"judge {named!r}: expected a language model, such as 'openai:gpt-4-1106-preview', or "
            f"{overlap.LABEL!r}, which only counts words"
        )
    options: dict[str, Any] = {"model": named}
    if named.endswith(".toml"):
        try:
            options = tomllib.loads(Path(named).expanduser().read_text(encoding="utf-8"))
        except OSError as error:
            raise ValueError(f"judge {named}: {error.strerror}") from None
        except ValueError as error:
            raise ValueError(f"judge {named}: not valid TOML: {error}") from None
    try:
        prices = _Prices.validate_python(options.pop("prices", {}))
        agent = Agent.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise ValueError(f"judge {named}: {place}: {first['msg']}") from None
    if agent.label == overlap.LABEL or agent.system is not None or agent.samples != 1:
        raise ValueError(f"judge {named}: `system` and `samples` have no effect on a judge")
    return Judge(agent, prices)
