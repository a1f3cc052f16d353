"""Judges: chat models, or the word counter `offline:overlap`."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.messages import AIMessage
from pydantic import BaseModel, Field, ValidationError

from moa_graph.config.model import Price, format_validation_error
from moa_graph.config.toml_files import load_toml
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.judging import overlap
from moa_graph.evals.judging.cases import JudgementCase, JudgingMethod
from moa_graph.evals.results_file import JsonRow
from moa_graph.evals.scorers.table import SCORER_PREFIX, find_scorer, read_scorer_name
from moa_graph.evals.systems import answer_options
from moa_graph.models.adapt import adapt_model
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.pricing import is_free_model
from moa_graph.prompting.finish_reasons import describe_ending
from moa_graph.prompting.parsing import read_finish_reason

_METHOD_OPTIONS = ("temperature", "max_tokens")
_OWN_OPTIONS = ("top_p", "stop", "base_url")  # options that no benchmark sets


class _JudgeTable(BaseModel):
    """Keys of a judge's file that are not options of its agent."""

    prices: dict[str, tuple[Price, Price]] = {}
    text_verdict: bool = Field(default=False, strict=True)


_OWN_KEYS = tuple(_JudgeTable.model_fields)  # further keys of a judge's file


@dataclass(frozen=True)
class Judge:
    """A judge, independent of the benchmark."""

    agent: Agent | None
    """The agent; `None` for the stand-in and for scorers."""
    prices: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    text_verdict: bool = False
    """Whether to read its text if a benchmark's method uses log-probabilities."""
    scorer: str | None = None
    """Name of an exact scorer that replaces a judge."""
    run_code: bool = False
    """Whether the scorer may run code of models."""

    @property
    def label(self) -> str:
        """Name of the judge: `provider:model`."""
        if self.scorer is not None:
            return f"{SCORER_PREFIX}{self.scorer}"
        return self.agent.label if self.agent else overlap.OVERLAP_LABEL

    @property
    def paid_labels(self) -> list[str]:
        """Names of the models that cost something."""
        return [self.agent.label] if self.agent else []

    @property
    def is_language_model(self) -> bool:
        """Whether it is a language model."""
        return self.agent is not None

    def settings(self, method: JudgingMethod) -> dict[str, Any]:
        """Return its request options: those of the benchmark, unless it has its own."""
        if not self.agent:
            return {}
        own = {name: getattr(self.agent, name) for name in (*_METHOD_OPTIONS, *_OWN_OPTIONS)}
        official = _official_settings(method)
        return {name: official[name] if own[name] is None else own[name] for name in own}

    def is_official(self, method: JudgingMethod) -> bool:
        """Return whether it is the benchmark's own judge, with the benchmark's options."""
        if self.label != method.official_label:
            return False
        return not self.agent or self.settings(method) == _official_settings(method)


class BenchmarkJudge:
    """A judge of a benchmark with a call store; its model is built immediately.

    Raises:
        ValueError: If a key is missing, or the model cannot be built.
    """

    def __init__(self, judge: Judge, method: JudgingMethod, call_store: CallStore) -> None:
        self._method, self._agent = method, None
        self._is_scorer = judge.scorer is not None
        if judge.agent:
            settings = {name: judge.settings(method)[name] for name in _METHOD_OPTIONS}
            self._agent = agent = judge.agent.model_copy(update=settings)
            model = build_model(agent)
            options = answer_options(agent, model)
            self._wrap_model = partial(
                call_store.wrap, adapt_model(model, hidden=True), agent.label, options
            )

    async def judge_case(self, case: JudgementCase) -> JsonRow:
        """Judge a case.

        Raises:
            CallError: If there is no judgement; the message says why.
        """
        if (automatic := await self._judge_automatically(case)) is not None:
            return automatic
        judgements = [await self._judge_order(each) for each in self._method.list_orders(case)]
        row = self._method.combine_judgements(case, judgements)
        notes = [note for each in judgements if (note := each.get("incomplete"))]
        return row | {"incomplete": notes[0]} if notes else row

    async def _judge_automatically(self, case: JudgementCase) -> JsonRow | None:
        """Return a judgement without a model; a slow scorer runs in a thread."""
        if self._is_scorer:
            return await asyncio.to_thread(self._method.automatic_judgement, case)
        return self._method.automatic_judgement(case)

    async def _judge_order(self, case: JudgementCase) -> JsonRow:
        """Call the judge with the answers in one order."""
        message = await self._ask_judge(case)
        row = self._method.parse_judgement(case, message)
        note = describe_ending(read_finish_reason(message))
        if not note or message.response_metadata.get("logprobs"):  # they write a single token
            return row
        return row | {"incomplete": note}

    async def _ask_judge(self, case: JudgementCase) -> AIMessage:
        if not self._agent:
            return self._method.judge_by_overlap(case)
        model = self._wrap_model(check=partial(self._method.parse_judgement, case))
        async with asyncio.timeout(self._agent.call_timeout):
            return await model.ainvoke(
                self._method.build_messages(case), **self._method.request_options
            )


def _official_settings(method: JudgingMethod) -> dict[str, Any]:
    own = {name: getattr(method, name) for name in _METHOD_OPTIONS}
    return own | dict.fromkeys(_OWN_OPTIONS)


def read_judge(source: str) -> Judge:
    """Parse the name of a judge.

    Args:
        source: `provider:model`, `offline:overlap`, or the path of a TOML file with `model` and
            other options of an `Agent`, and optionally `prices` as in a mixture; or `scorer:` and
            the name of an exact scorer.

    Raises:
        ValueError: If it is none of these.
    """
    if (scorer := read_scorer_name(source)) is not None:
        find_scorer(scorer)
        return Judge(None, scorer=scorer)
    if source == overlap.OVERLAP_LABEL:
        return Judge(None)
    if is_free_model(source):
        raise ValueError(
            f"judge {source!r}: expected a language model, such as 'openai:gpt-4-1106-preview', or "
            f"{overlap.OVERLAP_LABEL!r}, which only counts words"
        )
    title = f"judge {source}"
    if source.endswith(".toml"):
        return load_toml(source, _build_judge, _format_judge_error, title=title)
    try:
        return _build_judge({"model": source})
    except ValidationError as error:
        raise ValueError(f"{title}: {_format_judge_error(error)}") from None


def _build_judge(options: Mapping[str, Any]) -> Judge:
    own = _JudgeTable.model_validate(options)
    agent = Agent.model_validate({key: options[key] for key in options if key not in _OWN_KEYS})
    if agent.label == overlap.OVERLAP_LABEL or agent.system is not None or agent.samples != 1:
        raise ValueError("`system` and `samples` have no effect on a judge")
    return Judge(agent, own.prices, own.text_verdict)


def _format_judge_error(error: ValidationError) -> str:
    return format_validation_error(error, lambda _: [*Agent.model_fields, *_OWN_KEYS])
