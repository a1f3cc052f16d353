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

from moa_graph.config.model import MoAConfig, explain
from moa_graph.graph.policy import rules_of_layers
from moa_graph.runs.store import (
    CompiledMoA,
    Store,
    Thread,
    read_thread,
    read_threads,
)
from moa_graph.server.checkpoints import (
    Edit,
    Step,
    prepare,
    read_timeline,
)
from moa_graph.server.errors import ApiError
from moa_graph.server.live_runs import CONFLICT, LiveRun, Runs
from moa_graph.server.openai_requests import read_json
from moa_graph.server.run_view import Board, Json
from moa_graph.server.service import Service

LISTED = 100  # threads

Text = Annotated[str, Field(min_length=1)]
Model = TypeVar("Model", bound=BaseModel)


class Body(BaseModel):
    """The body of a request."""

    model_config = ConfigDict(extra="forbid", strict=True, hide_input_in_errors=True)


class Question(Body):
    """`POST /api/ask`."""

    question: Text
    thread: Text | None = None
    mixture: str | None = None


class Place(Body):
    """`POST /api/stop` and `POST /api/resume`."""

    thread: Text


class Continuation(Body):
    """`POST /api/continue`."""

    thread: Text
    checkpoint: Text
    edits: dict[str, Edit] = {}


def routes(service: Service) -> list[Route]:
    """Give the routes of the page's API; none where no threads are kept."""
    if service.store is None:
        return []
    studio = Studio(service, service.store)
    return [
        Route("/api/mixtures", studio.mixtures),
        Route("/api/threads", studio.threads),
        Route("/api/thread", studio.thread),
        Route("/api/events", studio.events),
        Route("/api/ask", studio.ask, methods=["POST"]),
        Route("/api/stop", studio.stop, methods=["POST"]),
        Route("/api/resume", studio.resume, methods=["POST"]),
        Route("/api/continue", studio.go_on, methods=["POST"]),
    ]


class Studio:
    """The page's side of a service."""

    def __init__(self, service: Service, store: Store) -> None:
        self._service, self._store = service, store
        self._runs = Runs(service, store)

    async def mixtures(self, _: Request) -> Response:
        """List what can be asked."""
        return _json({"mixtures": [_mixture(m) for m in self._service.mixtures.values()]})

    async def threads(self, _: Request) -> Response:
        """List the threads, newest first."""
        found = await read_threads(self._store.saver, LISTED)
        return _json({"threads": [self._summary(thread) for thread in found]})

    async def thread(self, request: Request) -> Response:
        """Show a thread at one of its steps, by default the newest, or its run."""
        name, checkpoint = _parameter(request, "id"), request.query_params.get("checkpoint")
        while True:
            live = self._runs.get(name)
            shown = await self._show(name, checkpoint, None if checkpoint else live)
            if self._runs.get(name) is live:  # else it began or ended while the store was read
                return _json(shown | {"running": live is not None})

    async def events(self, request: Request) -> Response:
        """Stream what a run does, from what there is on. It goes on when nobody watches."""
        live = self._runs.get(_parameter(request, "id"))
        if not live:
            return Response(status_code=204)

        async def events() -> AsyncIterator[Json]:
            async for each in live.watch():
                yield {"data": to_json(each).decode()}

        return EventSourceResponse(events(), ping=self._service.limits.keep_alive, sep="\n")

    async def ask(self, request: Request) -> Response:
        """Ask a question, on a new thread or as the next one of a thread."""
        asked = await self._read(request, Question)
        if not asked.question.strip():
            raise ApiError(400, "question: empty", param="question")
        name = asked.thread or secrets.token_hex(4)
        known = await self._find(name) if asked.thread else None
        mixture = self._choose(asked.mixture, known)
        await self._runs.start(name, mixture, question=asked.question)
        return _json({"thread": name})

    async def stop(self, request: Request) -> Response:
        """Stop a run."""
        place = await self._read(request, Place)
        await self._runs.stop(place.thread)
        return _json({"thread": place.thread})

    async def resume(self, request: Request) -> Response:
        """Go on with a run that was stopped or failed; stored answers are not asked for again."""
        place = await self._read(request, Place)
        thread = await self._find(place.thread)
        if thread.finished:
            raise ApiError(CONFLICT, f"thread {thread.id!r} is already answered")
        await self._runs.start(thread.id, _readable(thread))
        return _json({"thread": thread.id})

    async def go_on(self, request: Request) -> Response:
        """Go on from an earlier step, with proposals changed or as they were."""
        asked = await self._read(request, Continuation)
        mixture = _readable(await self._find(asked.thread))
        timeline = await read_timeline(self._store.saver, asked.thread, mixture)
        step = timeline.find(asked.checkpoint)

        async def begin(graph: CompiledMoA, config: RunnableConfig) -> RunnableConfig:
            return await prepare(graph, step, asked.edits, config)

        await self._runs.start(asked.thread, step.mixture, begin=begin)
        return _json({"thread": asked.thread})

    async def _show(self, name: str, checkpoint: str | None, live: LiveRun | None) -> Json:
        shown: Json = {"steps": [], "branches": [], "messages": [], "newest": True}
        if live and not await read_thread(self._store.saver, name):
            shown |= {"id": name, "mixture": live.mixture.name, "finished": False}
            return shown | _show_live(live)
        thread = await self._find(name)
        timeline = await read_timeline(self._store.saver, name, _readable(thread))
        shown |= self._summary(thread)
        step = timeline.find(checkpoint) if timeline.steps else None
        if step and step.values.get("messages"):
            shown |= _show(step) | {
                "steps": [each.json() for each in timeline.branch(step)],
                "branches": [end.json() for end in timeline.ends][::-1],
                "newest": step is timeline.find(None),
            }
        return shown | (_show_live(live, shown["messages"]) if live else {})

    async def _read(self, request: Request, model: type[Model]) -> Model:
        data = await read_json(request, self._service.limits)
        if not isinstance(data, dict):
            raise ApiError(400, f"the body: expected an object, got {type(data).__name__}")
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise ApiError(400, explain(error)) from None

    async def _find(self, name: str) -> Thread:
        if thread := await read_thread(self._store.saver, name):
            return thread
        raise ApiError(404, f"no thread {name!r}", code="not_found")

    def _choose(self, name: str | None, known: Thread | None) -> MoAConfig:
        """Take the mixture that is named, or the thread's, or the first."""
        if name:
            return self._service.mixture(name)
        if known and known.config:
            return known.config
        return next(iter(self._service.mixtures.values()))

    def _summary(self, thread: Thread) -> Json:
        return {
            "id": thread.id,
            "when": thread.when.isoformat(),
            "question": thread.question,
            "mixture": thread.config.name if thread.config else None,
            "finished": thread.finished,
            "running": self._runs.get(thread.id) is not None,
        }


def _show(step: Step) -> Json:
    """Show a state: what was said, and what each agent did."""
    board = Board(step.graph, step.mixture)
    run = board.show(step.values, step.snapshot.next)
    messages = [{"role": m.type, "text": m.text} for m in step.values["messages"]]
    return {
        "step": step.id,
        "messages": messages,
        "layout": _mixture(step.mixture),
        "cells": board.json(),
        "error": step.error,
        "seconds": round(run.seconds, 3),
        "complete": run.complete,
    }


def _show_live(live: LiveRun, messages: Sequence[Json] = ()) -> Json:
    """Show a run that goes on; its question may not have reached the store."""
    asked = [{"role": "human", "text": live.question}] if live.question else []
    known = [*messages[-1:]] == asked
    return {
        "question": live.question or (messages[-1]["text"] if messages else ""),
        "messages": [*messages, *([] if known else asked)],
        "layout": _mixture(live.mixture),
        "cells": live.board.json(),
        "error": None,
    }


def _mixture(mixture: MoAConfig) -> Json:
    """Tell the shape of a mixture."""
    widths = [sum(agent.samples for agent in layer.values()) for layer in mixture.layers]
    rules = rules_of_layers(widths, mixture.quorum, mixture.grace, mixture.deadline)
    return {
        "name": mixture.name,
        "layers": [
            {"asked": width, "needed": rule.needed(width)}
            for width, rule in zip(widths, rules, strict=True)
        ],
        "aggregator": mixture.aggregator.label,
    }


def _readable(thread: Thread) -> MoAConfig:
    if thread.config is None:
        message = f"thread {thread.id!r} was written by another program or version"
        raise ApiError(CONFLICT, message, code="unreadable")
    return thread.config


def _parameter(request: Request, name: str) -> str:
    if value := request.query_params.get(name):
        return value
    raise ApiError(400, f"{name}: required, but missing", param=name)


def _json(content: Mapping[str, Any]) -> Response:
    headers = {"cache-control": "no-store"}
    return Response(to_json(content), media_type="application/json", headers=headers)
