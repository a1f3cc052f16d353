"""Split the choices of one response into separate answers. Pure functions."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.messages import AIMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult

from moa_graph.prompting.tokens import weigh_text
from moa_graph.prompting.usage import clean_usage, share_usage

TOKEN_USAGE = "token_usage"  # noqa: S105  # no password
"""Key in the output of a request: the tokens of all its choices."""
JOINT_SAMPLES = "joint_samples"
"""Key in the metadata of an answer: number of answers of its request, if more than one."""
COUNTED_CHOICES = "counted_choices"
"""Key in the `usage` of a completion: number of choices whose tokens are counted, if not all."""


def name_models(result: LLMResult) -> LLMResult:
    """Add the model's name to each choice, as LangChain does for a single choice."""
    output = {
        name: value for name, value in (result.llm_output or {}).items() if name != TOKEN_USAGE
    }
    for answer in _answers_of(result):
        answer.response_metadata = {**output, **answer.response_metadata}
    return result


def read_choices(result: LLMResult, most: int) -> Sequence[AIMessage]:
    """Return the choices of a request as answers; their tokens add up to those of the request.

    The first answer gets the tokens of the prompt. Completion tokens are divided by the lengths of
    the texts if a provider does not report them for each choice.

    Args:
        result: The result that LangChain's callbacks receive.
        most: Maximum number of answers.
    """
    answers = _answers_of(result)[:most]
    token_usage = (result.llm_output or {}).get(TOKEN_USAGE)
    shared = {JOINT_SAMPLES: len(answers)} if len(answers) > 1 else {}
    usages = _share_usage(answers, token_usage if isinstance(token_usage, Mapping) else {})
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
    answers: Sequence[AIMessage], token_usage: Mapping[str, Any]
) -> Sequence[dict[str, Any] | None]:
    told_of_all = answers[0].usage_metadata if answers else None
    usage = clean_usage(told_of_all)
    if usage is None or told_of_all is None:
        return [None] * len(answers)
    counted = answers[: token_usage.get(COUNTED_CHOICES, len(answers))]
    shares = share_usage(usage, [_weigh_answer(each) for each in counted])
    if "total_cost" in told_of_all:  # LangChain's mark of cached answers
        shares = [{**share, "total_cost": 0} for share in shares]
    return [*shares, *([None] * (len(answers) - len(counted)))]


def _weigh_answer(answer: AIMessage) -> int:
    calls = json.dumps(answer.tool_calls, default=str) if answer.tool_calls else ""
    return weigh_text(answer.text) + weigh_text(calls) + 1
