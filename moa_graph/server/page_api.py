"""What the page at `GET /` asks of the server: threads, their steps, and runs to watch."""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from langchain_core.runnables import RunnableConfig
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moa_graph.config.model import MoAConfig, format_validation_error
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.runs.damage import DamagedThreadError
from moa_graph.runs.formatting import format_dropped_messages
from moa_graph.runs.live import RunProgress
from moa_graph.runs.store import (
    RunStore,
    StoredThread,
    read_thread,
    read_threads,
)
from moa_graph.server.checkpoints import (
    CheckpointView,
    ProposalEdit,
    prepare_fork,
    read_checkpoint_history,
)
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.json_body import read_json_body
from moa_graph.server.json_types import JsonObject
from moa_graph.server.live_runs import LiveRun, LiveRuns
from moa_graph.server.run_view import agents_to_json
from moa_graph.server.service import MixtureService

MAX_LISTED_THREADS = 100  # threads

NonEmptyText = Annotated[str, Field(min_length=1)]
BodyModel = TypeVar("BodyModel", bound=BaseModel)


class RequestBody(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class AskRequest(RequestBody):
    """`POST /api/ask`."""

    question: NonEmptyText
    thread: NonEmptyText | None = None
    mixture: str | None = None


class ThreadRequest(RequestBody):
    """`POST /api/stop` and `POST /api/resume`."""

    thread: NonEmptyText


class ContinueRequest(RequestBody):
    """`POST /api/continue`."""

    thread: NonEmptyText
    checkpoint: NonEmptyText
    edits: dict[str, ProposalEdit] = {}


def api_routes(service: MixtureService) -> list[Route]:
    """Give the routes of the page's API; none where no threads are kept."""
    if service.store is None:
        return []
    api = PageApi(service, service.store)
    return [
        Route("/api/mixtures", api.list_mixtures),
        Route("/api/threads", api.list_threads),
        Route("/api/thread", api.get_thread),
        Route("/api/events", api.stream_events),
        Route("/api/ask", api.ask_question, methods=["POST"]),
        Route("/api/stop", api.stop_run, methods=["POST"]),
        Route("/api/resume", api.resume_run, methods=["POST"]),
        Route("/api/continue", api.continue_run, methods=["POST"]),
    ]


class PageApi:
    """The page's side of a service."""

    def __init__(self, service: MixtureService, store: RunStore) -> None:
        self._service, self._store = service, store
        self._live_runs = LiveRuns(service, store)

    async def list_mixtures(self, _: Request) -> Response:
        """List what can be asked."""
        return _json_response(
            {"mixtures": [_mixture_shape(m) for m in self._service.mixtures.values()]}
        )

    async def list_threads(self, _: Request) -> Response:
        """List the threads, newest first."""
        threads = await read_threads(self._store.checkpointer, MAX_LISTED_THREADS)
        return _json_response({"threads": [self._thread_summary(thread) for thread in threads]})

    async def get_thread(self, request: Request) -> Response:
        """Show a thread at one of its steps, by default the newest, or its run."""
        name, checkpoint = _require_parameter(request, "id"), request.query_params.get("checkpoint")
        while True:
            live = self._live_runs.get_run(name)
            view = await self._thread_view(name, checkpoint, None if checkpoint else live)
            if (
                self._live_runs.get_run(name) is live
            ):  # else it began or ended while the store was read
                return _json_response(view | {"running": live is not None})

    async def stream_events(self, request: Request) -> Response:
        """Stream what a run does, from what there is on. It goes on when nobody watches."""
        live = self._live_runs.get_run(_require_parameter(request, "id"))
        if not live:
            return Response(status_code=204)

        async def events() -> AsyncIterator[JsonObject]:
            async for each in live.stream_updates():
                yield {"data": to_json(each).decode()}

        return EventSourceResponse(events(), ping=self._service.limits.keep_alive, sep="\n")

    async def ask_question(self, request: Request) -> Response:
        """Ask a question, on a new thread or as the next one of a thread."""
        body = await self._parse_body(request, AskRequest)
        if not body.question.strip():
            raise ApiError(400, "question: empty", param="question")
        name = body.thread or secrets.token_hex(4)
        thread = await self._find_thread(name) if body.thread else None
        mixture = self._choose_mixture(body.mixture, thread)
        await self._live_runs.start_run(name, mixture, question=body.question)
        return _json_response({"thread": name})

    async def stop_run(self, request: Request) -> Response:
        """Stop a run."""
        body = await self._parse_body(request, ThreadRequest)
        await self._live_runs.stop_run(body.thread)
        return _json_response({"thread": body.thread})

    async def resume_run(self, request: Request) -> Response:
        """Go on with a run that was stopped or failed; stored answers are not asked for again."""
        body = await self._parse_body(request, ThreadRequest)
        thread = await self._find_thread(body.thread)
        if thread.is_finished:
            raise ApiError(HTTP_CONFLICT, f"thread {thread.id!r} is already answered")
        await self._live_runs.start_run(thread.id, _require_mixture(thread))
        return _json_response({"thread": thread.id})

    async def continue_run(self, request: Request) -> Response:
        """Go on from an earlier step, with proposals changed or as they were."""
        body = await self._parse_body(request, ContinueRequest)
        mixture = _require_mixture(await self._find_thread(body.thread))
        history = await read_checkpoint_history(self._store.checkpointer, body.thread, mixture)
        step = history.find_checkpoint(body.checkpoint)

        async def begin(graph: CompiledMoAGraph, config: RunnableConfig) -> RunnableConfig:
            return await prepare_fork(graph, step, body.edits, config)

        await self._live_runs.start_run(body.thread, step.mixture, prepare=begin)
        return _json_response({"thread": body.thread})

    async def _thread_view(
        self, name: str, checkpoint: str | None, live: LiveRun | None
    ) -> JsonObject:
        view: JsonObject = {"steps": [], "branches": [], "messages": [], "newest": True}
        if live and not await read_thread(self._store.checkpointer, name):
            view |= {"id": name, "mixture": live.mixture.name, "finished": False}
            return view | _live_state(live)
        thread = await self._find_thread(name)
        history = await read_checkpoint_history(
            self._store.checkpointer, name, _require_mixture(thread)
        )
        view |= self._thread_summary(thread)
        step = history.find_checkpoint(checkpoint) if history.checkpoints else None
        if step and step.values.get("messages"):
            view |= _checkpoint_state(step) | {
                "steps": [each.as_json() for each in history.branch_of(step)],
                "branches": [end.as_json() for end in history.branch_ends][::-1],
                "newest": step is history.find_checkpoint(None),
            }
        return view | (_live_state(live, view["messages"]) if live else {})

    async def _parse_body(self, request: Request, model: type[BodyModel]) -> BodyModel:
        data = await read_json_body(request, self._service.limits)
        if not isinstance(data, dict):
            raise ApiError(400, f"the body: expected an object, got {type(data).__name__}")
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise ApiError(400, format_validation_error(error)) from None

    async def _find_thread(self, name: str) -> StoredThread:
        try:
            thread = await read_thread(self._store.checkpointer, name)
        except DamagedThreadError as error:
            raise ApiError(HTTP_CONFLICT, str(error), code="unreadable") from None
        if thread:
            return thread
        raise ApiError(404, f"no thread {name!r}", code="not_found")

    def _choose_mixture(self, name: str | None, thread: StoredThread | None) -> MoAConfig:
        """Take the mixture that is named, or the thread's, or the first."""
        if name:
            return self._service.get_mixture(name)
        if thread and thread.config:
            return thread.config
        return next(iter(self._service.mixtures.values()))

    def _thread_summary(self, thread: StoredThread) -> JsonObject:
        return {
            "id": thread.id,
            "when": thread.updated_at.isoformat(),
            "title": thread.title,
            "question": thread.question,
            "state": thread.status_text,
            "mixture": thread.config.name if thread.config else None,
            "finished": thread.is_finished,
            "running": self._live_runs.get_run(thread.id) is not None,
        }


def _checkpoint_state(step: CheckpointView) -> JsonObject:
    """Show a state: what was said, and what each agent did."""
    progress = RunProgress.from_graph(step.graph, step.mixture.prices)
    run = progress.load_state(step.values, step.snapshot.next)
    messages = [{"role": m.type, "text": m.text} for m in step.values["messages"]]
    return {
        "step": step.id,
        "messages": messages,
        "notice": format_dropped_messages(dropped) if (dropped := run.dropped_messages) else None,
        "layout": _mixture_shape(step.mixture),
        "cells": agents_to_json(progress),
        "error": step.error,
        "seconds": round(run.seconds, 3),
        "complete": run.cost_is_complete,
    }


def _live_state(live: LiveRun, messages: Sequence[JsonObject] = ()) -> JsonObject:
    """Show a run that goes on; its question may not have reached the store."""
    questions = [{"role": "human", "text": live.question}] if live.question else []
    is_stored = [*messages[-1:]] == questions
    return {
        "question": live.question or (messages[-1]["text"] if messages else ""),
        "messages": [*messages, *([] if is_stored else questions)],
        "layout": _mixture_shape(live.mixture),
        "cells": agents_to_json(live.progress),
        "error": None,
    }


def _mixture_shape(mixture: MoAConfig) -> JsonObject:
    """Tell the shape of a mixture."""
    return {
        "name": mixture.name,
        "layers": [
            {"asked": width, "needed": policy.required_answers(width)}
            for width, policy in zip(mixture.layer_widths(), mixture.layer_policies(), strict=True)
        ],
        "aggregator": mixture.aggregator.label,
    }


def _require_mixture(thread: StoredThread) -> MoAConfig:
    if thread.config is None:
        message = f"thread {thread.id!r} was written by another program or version"
        raise ApiError(HTTP_CONFLICT, message, code="unreadable")
    return thread.config


def _require_parameter(request: Request, name: str) -> str:
    if value := request.query_params.get(name):
        return value
    raise ApiError(400, f"{name}: required, but missing", param=name)


def _json_response(content: Mapping[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(to_json(content), media_type="application/json", headers=headers)
