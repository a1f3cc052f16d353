"""Answer a request of any dialect: start its run, stream or collect the answer.

A dialect consists of a request model, which is converted to `ChatRequest`s, and an `AnswerFormat`.
Its handler passes the plan and the format to `answer_request`.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Sequence
from contextlib import aclosing
from typing import Any, Protocol, TypeVar, cast

from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableConfig
from starlette.requests import Request
from starlette.responses import Response

from moa_graph.chat_model.call_group import CALL_GROUP, CallGroup
from moa_graph.server.answer_plan import AnswerPlan
from moa_graph.server.errors import ApiError, server_stopping_error, to_api_error
from moa_graph.server.prefill import RepetitionFilter
from moa_graph.server.proposal_scope import scope_to_key
from moa_graph.server.responses import EventQueue, RunResponse, ServerEvent, wait_for_run
from moa_graph.server.service import MixtureService, get_service

IGNORED_HEADER = "x-moa-ignored-parameters"

_MAX_NAME_CHARS = 64  # characters of a parameter's name
_MAX_NAMES = 32  # parameters in a header

T = TypeVar("T")


class AnswerFormat(Protocol):
    """The format of the answers to one request in a dialect."""

    def format_answers(self, answers: Sequence[AIMessage]) -> str:
        """Return the JSON of complete answers."""

    def start(self) -> Iterable[ServerEvent]:
        """Return the first events of a stream, before any answer."""

    def format_chunk(self, chunk: AIMessageChunk, index: int) -> Iterable[ServerEvent]:
        """Return the events for a chunk of an answer; the last chunk has the run summary."""

    def end(self) -> Iterable[ServerEvent]:
        """Return the events after all answers."""

    def format_error(self, error: ApiError) -> Iterable[ServerEvent]:
        """Return the last events of a stream that failed."""


async def answer_request(
    request: Request,
    plans: Sequence[AnswerPlan],
    answer_format: AnswerFormat,
    *,
    stream: bool,
    ping: ServerEvent | None = None,
) -> Response:
    """Run a mixture, and return its answers.

    Args:
        request: The request.
        plans: Plans that run one after the other; the answers of one plan share their proposals.
        answer_format: The format of the dialect.
        stream: Whether to stream the answers.
        ping: The event of a silent stream, in dialects that have one.

    Raises:
        ApiError: If there are too many runs, or the run fails before anything is sent.
    """
    service, config = get_service(request), scope_to_key(request)
    names = dict.fromkeys(name for plan in plans for name in plan.ineffective)
    headers = _name_ineffective_parameters(service, names)
    plans = [plan.with_config(config) for plan in plans]
    if stream:
        events: EventQueue = asyncio.Queue()
        run = service.start_run(_queue_events(plans, answer_format, events))
        keep_alive = service.limits.keep_alive
        return RunResponse(events, run, keep_alive=keep_alive, ping=ping, headers=headers)
    answers = await wait_for_run(request, service.start_run(_invoke_model(plans)))
    body = answer_format.format_answers(answers)
    return Response(body, media_type="application/json", headers=headers)


def _name_ineffective_parameters(service: MixtureService, names: Iterable[str]) -> dict[str, str]:
    """Name ineffective parameters in the log and in a header, escaped as text of a client."""
    printable = [_to_printable(name) for name in names][:_MAX_NAMES]
    service.note_ineffective_parameters(printable)
    return {IGNORED_HEADER: ", ".join(printable)} if printable else {}


def _to_printable(name: str) -> str:
    printable = name[:_MAX_NAME_CHARS]
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "?" for c in printable)


async def _invoke_model(plans: Sequence[AnswerPlan]) -> list[AIMessage]:
    """Return complete answers."""

    async def answer(plan: AnswerPlan, config: RunnableConfig, _: int) -> AIMessage:
        answer = await plan.chat_model.ainvoke(plan.messages, config, **plan.options)
        return RepetitionFilter(plan.beginning).filter_answer(answer) if plan.beginning else answer

    try:
        return await _answer_plans(plans, answer)
    except Exception as error:
        raise _to_named_error(error, plans) from error


async def _queue_events(
    plans: Sequence[AnswerPlan], answer_format: AnswerFormat, events: EventQueue
) -> None:
    """Run in a separate task: cancelling a response would disturb the cleanup of a graph."""

    def put(new: Iterable[ServerEvent]) -> None:
        for event in new:
            events.put_nowait(event)

    async def queue_answer(plan: AnswerPlan, config: RunnableConfig, index: int) -> None:
        async with aclosing(_stream_answer(plan, config)) as chunks:
            async for chunk in chunks:
                put(answer_format.format_chunk(chunk, index))

    try:
        put(answer_format.start())
        await _answer_plans(plans, queue_answer)
        put(answer_format.end())
    except asyncio.CancelledError:
        put(answer_format.format_error(server_stopping_error()))
        raise
    except Exception as error:  # noqa: BLE001  # the client receives every error
        put(answer_format.format_error(_to_named_error(error, plans)))


def _to_named_error(error: Exception, plans: Sequence[AnswerPlan]) -> ApiError:
    """Convert an error of a run; name the parameter as in the client's dialect."""
    api_error = to_api_error(error)
    if api_error.param is not None:
        api_error.param = plans[0].names.get(api_error.param, api_error.param)
    return api_error


async def _stream_answer(
    plan: AnswerPlan, config: RunnableConfig
) -> AsyncGenerator[AIMessageChunk]:
    repetition = RepetitionFilter(plan.beginning) if plan.beginning else None
    stream = plan.chat_model.astream(plan.messages, config, **plan.options)
    async with aclosing(cast("AsyncGenerator[AIMessageChunk]", stream)) as chunks:
        async for chunk in chunks:
            yield repetition.filter_chunk(chunk) if repetition else chunk


async def _answer_plans(
    plans: Sequence[AnswerPlan],
    answer: Callable[[AnswerPlan, RunnableConfig, int], Coroutine[Any, Any, T]],
) -> list[T]:
    """Generate all answers; if one fails, cancel the others."""
    answers = list[T]()
    for plan in plans:
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(answer(plan, config, len(answers) + index))
                    for index, config in enumerate(_configs_of(plan))
                ]
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        answers += [task.result() for task in tasks]
    return answers


def _configs_of(plan: AnswerPlan) -> list[RunnableConfig]:
    """Return the config of each answer; several answers share their proposals."""
    if plan.count == 1:
        return [plan.config]
    configurable = {**plan.config.get("configurable", {}), CALL_GROUP: CallGroup()}
    return [RunnableConfig({**plan.config, "configurable": configurable})] * plan.count
