"""The choices of one request, as answers of their own. Pure functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult

from moa_graph.prompting.tokens import weigh_text
from moa_graph.prompting.usage import clean_usage, share_usage

TOKEN_USAGE = "token_usage"  # noqa: S105  # no password
"""In the output of a request: the tokens of all its choices."""
JOINT_SAMPLES = "joint_samples"
"""In the metadata of an answer: how many came of its request, if it was not the only one."""
COUNTED_CHOICES = "counted_choices"
"""In the `usage` of a completion: of how many of its choices the tokens are counted, if not all."""


def name_models(result: LLMResult) -> LLMResult:
    """Have each choice say which model gave it, as LangChain does where there is but one."""
    told = {name: value for name, value in (result.llm_output or {}).items() if name != TOKEN_USAGE}
    for answer in _answers_of(result):
        answer.response_metadata = {**told, **answer.response_metadata}
    return result


def read_choices(result: LLMResult, most: int) -> Sequence[AIMessage]:
    """Give the choices of a request as answers; their tokens add up to those of the request.

    The first answer has the tokens of the prompt. What was written is shared out by the lengths of
    the texts, where a provider does not say what each choice took.

    Args:
        result: What LangChain's callbacks are told of the request.
        most: How many answers are wanted.
    """
    answers = _answers_of(result)[:most]
    told = (result.llm_output or {}).get(TOKEN_USAGE)
    shared = {JOINT_SAMPLES: len(answers)} if len(answers) > 1 else {}
    usages = _share_usage(answers, told if isinstance(told, Mapping) else {})
    return [
        answer.model_copy(
            update={
                "usage_metadata": cast("UsageMetadata | None", usage),
                "response_metadata": answer.response_metadata | shared,
            }
        )
        for answer, usage in zip(answers, usages, strict=True)
    ]


def _answers_of(result: LLMResult) -> list[AIMessage]:
    choices = [each for each in result.generations[0] if isinstance(each, ChatGeneration)]
    return [each.message for each in choices if isinstance(each.message, AIMessage)]


def _share_usage(
    answers: Sequence[AIMessage], told: Mapping[str, Any]
) -> Sequence[dict[str, Any] | None]:
    told_of_all = answers[0].usage_metadata if answers else None
    usage = clean_usage(told_of_all)
    if usage is None or told_of_all is None:
        return [None] * len(answers)
    counted = answers[: told.get(COUNTED_CHOICES, len(answers))]
    shares = share_usage(usage, [_weigh_answer(each) for each in counted])
    if "total_cost" in told_of_all:  # how LangChain marks what is from its cache
        shares = [{**share, "total_cost": 0} for share in shares]
    return [*shares, *([None] * (len(answers) - len(counted)))]


def _weigh_answer(answer: AIMessage) -> int:
    calls = json.dumps(answer.tool_calls, default=str) if answer.tool_calls else ""
    return weigh_text(answer.text) + weigh_text(calls) + 1
