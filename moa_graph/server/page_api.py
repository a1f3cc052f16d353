"""The API of the page at `GET /`: threads, their checkpoints, and running runs."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from pydantic import ValidationError
from pydantic_core import to_json
from sse_starlette import EventSourceResponse
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from moa_graph.config.model import MoAConfig, format_validation_error
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.redaction import redacted_message
from moa_graph.runs.damage import DamagedThreadError
from moa_graph.runs.record import read_run
from moa_graph.runs.retention import is_known_foreign
from moa_graph.runs.store import RunStore, is_database_error
from moa_graph.runs.stored_threads import StoredThread, read_thread, read_threads
from moa_graph.runs.titles import write_title
from moa_graph.server.auth import REPORT_PREFIX
from moa_graph.server.checkpoints import (
    CheckpointHistory,
    CheckpointView,
    read_checkpoint_history,
)
from moa_graph.server.errors import HTTP_CONFLICT, ApiError
from moa_graph.server.json_body import read_json_body
from moa_graph.server.json_types import JsonObject
from moa_graph.server.live_runs import LiveRun, LiveRuns
from moa_graph.server.mixture_view import describe_mixture, list_missing_keys
from moa_graph.server.page_reports import ReportAddresses, report_response, write_report
from moa_graph.server.page_requests import (
    AskRequest,
    ContinueRequest,
    RenameRequest,
    ReportRequest,
    RequestBody,
    ResumeRequest,
    ThreadRequest,
)
from moa_graph.server.proposal_edits import prepare_fork
from moa_graph.server.proposal_view import describe_proposal
from moa_graph.server.service import MixtureService
from moa_graph.server.thread_view import (
    contains_words,
    describe_checkpoint,
    describe_live_run,
    forget_texts,
    judge_thread,
    with_html,
)
from moa_graph.server.turn_remedies import choose_mixture_to_continue, choose_mixture_to_resume

MAX_LISTED_THREADS = 100  # threads
MAX_SEARCHED_THREADS = 2000  # of the newest

BodyModel = TypeVar("BodyModel", bound=RequestBody)


def api_routes(service: MixtureService) -> list[Route]:
    """Return the routes of the page's API; empty if there is no store of threads."""
    if service.store is None:
        return []
    api = PageApi(service, service.store)
    return [
        Route("/api/mixtures", api.list_mixtures),
        Route("/api/threads", api.list_threads),
        Route("/api/thread", api.get_thread),
        Route("/api/proposal", api.get_proposal),
        Route("/api/report", api.get_report),
        Route("/api/report", api.address_report, methods=["POST"]),
        Route(f"{REPORT_PREFIX}{{name}}", api.reports.get_report),
        Route("/api/events", api.stream_events),
        Route("/api/ask", api.ask_question, methods=["POST"]),
        Route("/api/stop", api.stop_run, methods=["POST"]),
        Route("/api/resume", api.resume_run, methods=["POST"]),
        Route("/api/continue", api.continue_run, methods=["POST"]),
        Route("/api/rename", api.rename_thread, methods=["POST"]),
        Route("/api/delete", api.delete_thread, methods=["POST"]),
    ]


class PageApi:
    """The page's API of a service."""

    def __init__(self, service: MixtureService, store: RunStore) -> None:
        self._service, self._store = service, store
        self._live_runs = LiveRuns(service, store)
        self.reports = ReportAddresses()

    async def list_mixtures(self, _: Request) -> Response:
        """Return the mixtures."""
        mixtures = [*self._service.layered_mixtures, *self._service.without_keys]
        return _json_response({"mixtures": [describe_mixture(each) for each in mixtures]})

    async def list_threads(self, request: Request) -> Response:
        """Return the threads, newest first; with `search`, those with all its words."""
        words = request.query_params.get("search", "").casefold().split()
        threads = await read_threads(
            self._store.checkpointer,
            MAX_LISTED_THREADS + 1,
            only=lambda thread: contains_words(thread, words),
            max_looked_at=MAX_SEARCHED_THREADS,
        )
        listed = [self._thread_summary(thread) for thread in threads[:MAX_LISTED_THREADS]]
        return _json_response({"threads": listed, "more": len(threads) > len(listed)})

    async def get_thread(self, request: Request) -> Response:
        """Return a thread at a checkpoint (by default the newest), or its run."""
        name, checkpoint = _require_parameter(request, "id"), request.query_params.get("checkpoint")
        while True:
            live = self._live_runs.get_run(name)
            view = await self._thread_view(name, checkpoint, None if checkpoint else live)
            if self._live_runs.get_run(name) is live:  # else it started or ended during the read
                return _json_response(await with_html(view | {"running": live is not None}))

    async def get_proposal(self, request: Request) -> Response:
        """Return a proposal with its comparisons: the answer, and the layer before."""
        node, thread = _require_parameter(request, "node"), _require_parameter(request, "id")
        step, _ = await self._find_step(thread, request.query_params.get("checkpoint"))
        run = read_run(step.values, order=step.graph.nodes)
        return _json_response(await asyncio.to_thread(describe_proposal, run, node))

    async def get_report(self, request: Request) -> Response:
        """Return the report of the turn of a checkpoint."""
        thread = _require_parameter(request, "id")
        step, history = await self._find_step(thread, request.query_params.get("checkpoint"))
        return report_response(await asyncio.to_thread(write_report, step, history))

    async def address_report(self, request: Request) -> Response:
        """Return an address at which the browser can open a report."""
        body = await self._parse_body(request, ReportRequest)
        step, history = await self._find_step(body.thread, body.checkpoint)
        page = await asyncio.to_thread(write_report, step, history)
        return _json_response({"url": self.reports.keep(page)})

    async def stream_events(self, request: Request) -> Response:
        """Stream the events of a run from now on. The run continues without watchers."""
        live = self._live_runs.get_run(_require_parameter(request, "id"))
        if not live:
            return Response(status_code=204)

        async def events() -> AsyncIterator[JsonObject]:
            async for each in live.stream_updates():
                yield {"data": to_json(each).decode()}

        return EventSourceResponse(events(), ping=self._service.limits.keep_alive, sep="\n")

    async def ask_question(self, request: Request) -> Response:
        """Ask a question on a new thread, or as the next one of a thread."""
        body = await self._parse_body(request, AskRequest)
        question = body.with_attachments()
        name = body.thread or secrets.token_hex(4)
        thread = await self._find_thread(name) if body.thread else None
        mixture = await self._choose_mixture(body.mixture, thread)
        await self._live_runs.start_run(name, mixture, question=question)
        return _json_response({"thread": name})

    async def stop_run(self, request: Request) -> Response:
        """Stop a run."""
        body = await self._parse_body(request, ThreadRequest)
        await self._live_runs.stop_run(body.thread)
        return _json_response({"thread": body.thread})

    async def resume_run(self, request: Request) -> Response:
        """Continue a stopped or failed run without repeating stored calls."""
        body = await self._parse_body(request, ResumeRequest)
        thread = await self._find_thread(body.thread)
        if thread.is_finished:
            message = f"thread {thread.id!r} is already answered"
            raise ApiError(HTTP_CONFLICT, message, code="answered")
        mixture = _require_mixture(thread)
        if body.aggregator or body.lower_quorum:
            step, _ = await self._find_step(thread.id, None)
            mixture = choose_mixture_to_resume(step, body)
        await self._live_runs.start_run(thread.id, mixture)
        return _json_response({"thread": thread.id})

    async def continue_run(self, request: Request) -> Response:
        """Continue from an earlier checkpoint, with edited or unchanged proposals."""
        body = await self._parse_body(request, ContinueRequest)
        newest = _require_mixture(await self._find_thread(body.thread))
        history = await read_checkpoint_history(self._store.checkpointer, body.thread, newest)
        step = history.find_checkpoint(body.checkpoint)

        async def begin(graph: CompiledMoAGraph, config: RunnableConfig) -> RunnableConfig:
            return await prepare_fork(graph, step, body.edits, config)

        mixture = choose_mixture_to_continue(step, body)
        await self._live_runs.start_run(body.thread, mixture, prepare=begin)
        return _json_response({"thread": body.thread})

    async def rename_thread(self, request: Request) -> Response:
        """Set the title of a thread; an empty one restores the default, its first question."""
        body = await self._parse_body(request, RenameRequest)
        thread = await self._find_thread(body.thread)
        try:
            await write_title(self._store.checkpointer, thread.id, body.title or None)
        except Exception as error:
            if not is_database_error(error):
                raise
            message = f"the title cannot be stored: {redacted_message(error)}"
            raise ApiError(HTTP_CONFLICT, message, code="not_stored") from None
        return _json_response({"thread": thread.id, "title": body.title or None})

    async def delete_thread(self, request: Request) -> Response:
        """Delete a thread and its data, even if it cannot be read."""
        body = await self._parse_body(request, ThreadRequest)
        if self._live_runs.get_run(body.thread) is None:
            await self._refuse_foreign(body.thread)
        await self._live_runs.delete_thread(body.thread)
        forget_texts()
        self.reports.forget()
        return _json_response({"thread": body.thread})

    async def _refuse_foreign(self, name: str) -> None:
        """Reject a thread of another program.

        Raises:
            ApiError: If it belongs to another program, or does not exist.
        """
        try:
            thread = await read_thread(self._store.checkpointer, name)
        except DamagedThreadError as error:
            if await is_known_foreign(self._store.checkpointer, name):
                raise ApiError(HTTP_CONFLICT, str(error), code="unreadable") from None
            return
        if not thread:
            raise ApiError(404, f"no thread {name!r}", code="not_found")
        _require_mixture(thread)

    async def _find_step(
        self, name: str, checkpoint: str | None
    ) -> tuple[CheckpointView, CheckpointHistory]:
        """Return a checkpoint of a thread, by default the newest one."""
        thread = await self._find_thread(name)
        mixture = _require_mixture(thread)
        history = await read_checkpoint_history(self._store.checkpointer, thread.id, mixture)
        step = history.find_checkpoint(checkpoint)
        if not step.values.get("messages"):
            raise ApiError(404, f"thread {name!r} has no question", code="not_found")
        return step, history

    async def _thread_view(
        self, name: str, checkpoint: str | None, live: LiveRun | None
    ) -> JsonObject:
        view: JsonObject = {"steps": [], "branches": [], "messages": [], "newest": True}
        if live and not await read_thread(self._store.checkpointer, name):
            view |= {"id": name, "mixture": live.mixture.name, "finished": False}
            return view | describe_live_run(live)
        thread = await self._find_thread(name)
        history = await read_checkpoint_history(
            self._store.checkpointer, name, _require_mixture(thread)
        )
        view |= self._thread_summary(thread)
        step = history.find_checkpoint(checkpoint) if history.checkpoints else None
        if step and step.values.get("messages"):
            stopped = self._live_runs.stopped_texts.find(name, step.created_at)
            view |= describe_checkpoint(step, history, stopped) | {
                "steps": [each.as_json() for each in history.branch_of(step)],
                "branches": [end.as_json() for end in history.branch_ends][::-1],
                "newest": step is history.find_checkpoint(None),
            }
        return view | (describe_live_run(live, view["messages"]) if live else {})

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

    async def _choose_mixture(self, name: str | None, thread: StoredThread | None) -> MoAConfig:
        """Return the named mixture, that of the thread's last question, or the first one."""
        if keyless := next((m for m in self._service.without_keys if m.name == name), None):
            keys = " and ".join(list_missing_keys(keyless))
            message = f"mixture {name!r} needs a key: set {keys}, and restart the server"
            raise ApiError(HTTP_CONFLICT, message, code="not_ready", param="mixture")
        if name:
            if (mixture := self._service.get_mixture(name)) in self._service.layered_mixtures:
                return mixture
            raise ApiError(404, f"{name!r} is a single model; expected a mixture", param="mixture")
        if thread and thread.config:
            history = await read_checkpoint_history(
                self._store.checkpointer, thread.id, thread.config
            )
            return history.find_asked_mixture() if history.checkpoints else thread.config
        return self._service.layered_mixtures[0]

    def _thread_summary(self, thread: StoredThread) -> JsonObject:
        is_running = self._live_runs.get_run(thread.id) is not None
        return {
            "id": thread.id,
            "when": thread.updated_at.isoformat(),
            "title": thread.title,
            "question": thread.question,
            "state": thread.status_text,
            "mixture": thread.config.name if thread.config else None,
            "finished": thread.is_finished,
            "outcome": "running" if is_running else judge_thread(thread),
            "turns": sum(message.type == "human" for message in thread.messages),
            "running": is_running,
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
