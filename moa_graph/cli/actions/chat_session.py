"""A chat session: a conversation with a mixture on one thread."""

import asyncio
import secrets
import signal
import sys
from collections.abc import Coroutine, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from functools import partial
from itertools import takewhile
from typing import Any
from uuid import uuid4

import typer
from langchain_core.messages import AnyMessage, BaseMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.background_thread import run_in_thread
from moa_graph.cli.actions.fork import parse_fork_point
from moa_graph.cli.actions.run import (
    CliRun,
    CliRunResult,
    OutputOptions,
    ThreadEditor,
    input_to_ask,
    input_to_resume,
)
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.plain_text import print_warning, to_single_line
from moa_graph.config.model import MoAConfig
from moa_graph.graph.builder import CompiledMoAGraph
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.runs.driver import InputForTurn
from moa_graph.runs.fork_point import fork_point_in
from moa_graph.runs.store import RunStore, build_run_config
from moa_graph.runs.stored_threads import StoredThread, read_thread, require_config
from moa_graph.runs.stored_turns import current_turn_values, read_current_values, read_newest_turn


class ChatSession:
    """A conversation with a mixture.

    The thread is locked only while a question is answered, and not while the prompt waits. An open
    chat blocks no other process, and each turn reads the thread again.
    """

    def __init__(
        self,
        store: RunStore,
        thread: str,
        mixture: MoAConfig,
        db: str | None,
        output: OutputOptions,
    ) -> None:
        self.store, self.thread, self.mixture, self.db = store, thread, mixture, db
        self._output, self.is_interactive = output, sys.stdin.isatty()
        self._question: HumanMessage | None = None
        self._answer_count = 0
        self._warm_up: Future[Any] | None = None

    def start_warm_up(self) -> None:
        """Build the graph while the user types: an event loop that imports ignores Ctrl-C."""
        self._warm_up = run_in_thread(_build_graph, self.mixture)

    async def ask_question(self, question: str) -> None:
        """Ask a question, and print the answer."""
        self._question = HumanMessage(question, id=str(uuid4()))
        await self._run_turn(partial(input_to_ask, question=self._question))

    async def redo(self, at: str = "") -> None:
        """Answer the last question again from a layer on, or continue a stopped run.

        Raises:
            CommandError: If there is nothing to answer.
        """
        thread = await read_thread(self.store.checkpointer, self.thread)
        if self._question and self._question_is_unstored(thread):
            await self._run_turn(partial(input_to_ask, question=self._question))
            return
        thread = await self.read_current_thread()
        has_same_agents = thread.config and _agent_samples(thread.config) == _agent_samples(
            self.mixture
        )
        if not thread.is_finished and not at and has_same_agents:
            await self._run_turn(input_to_resume)
            return
        point = parse_fork_point(at, self.mixture, "/redo") if at else None
        if point is None or point.asks_all:
            update = {"messages": _repeat_question(thread.messages)}
            await self._run_turn(lambda _: update)
        else:
            values = await self.read_state_values(thread)
            _check_has_layer(point.find_last_layer(values), values)
            await self._run_turn(input_to_resume, edit=_rewind_to(point.name, values))

    async def undo(self) -> None:
        """Remove the last question, with its answer if there is one.

        Raises:
            CommandError: If there is no question.
        """
        thread = await read_thread(self.store.checkpointer, self.thread)
        if self._question and self._question_is_unstored(thread):
            question = str(self._question.text)
        else:
            question = await self._remove_last_turn(await self.read_current_thread())
        self._question = None
        self.print_notice(f"removed: {to_single_line(question)}", always=True)

    async def fork(self) -> None:
        """Continue in a new thread with the conversation so far, without an unanswered question.

        Raises:
            CommandError: If there is no question yet.
        """
        thread, name = await self.read_current_thread(), secrets.token_hex(4)
        graph = require_config(thread).graph().compile(checkpointer=self.store.checkpointer)
        answered_state = await _answered_state(
            graph, build_run_config(thread.id, require_config(thread))
        )
        if answered_state["messages"]:
            await graph.aupdate_state(
                build_run_config(name, require_config(thread)), answered_state, as_node=AGGREGATOR
            )
        is_open = not thread.is_finished or self._question_is_unstored(thread)
        omission_note = "; the last question has no answer and is not copied" if is_open else ""
        self.print_notice(
            f"thread {self.thread} stays as it is{omission_note}; this is thread {name}",
            always=True,
        )
        self.thread = name

    async def read_current_thread(self) -> StoredThread:
        """Read the thread.

        Raises:
            CommandError: If there is no question yet.
        """
        thread = await read_thread(self.store.checkpointer, self.thread)
        if thread and thread.messages:
            return thread
        raise CommandError("there is no question yet")

    async def read_state_values(self, thread: StoredThread) -> dict[str, Any]:
        """Read the state of the thread."""
        mixture = require_config(thread)
        graph = mixture.graph().compile(checkpointer=self.store.checkpointer)
        return await read_current_values(graph, build_run_config(thread.id, mixture))

    def print_notice(self, text: str, *, always: bool = False) -> None:
        """Print a notice on a terminal; a pipe gets only answers."""
        if always or self.is_interactive:
            print_warning(text)

    async def _remove_last_turn(self, thread: StoredThread) -> str:
        """Remove the last question and the messages after it, and return its text."""
        mixture, question = require_config(thread), _last_turn(thread.messages)[0]
        graph = mixture.graph().compile(checkpointer=self.store.checkpointer)
        config = build_run_config(thread.id, mixture)
        async with self.store.lock_thread(thread.id):
            snapshot = await graph.aget_state(config)
            turn = await read_newest_turn(graph, config, snapshot)
            earlier_messages = list(takewhile(lambda each: each.id != question.id, turn.history))
            update = {
                "messages": turn.replaced_by(earlier_messages),
                "proposals": dict.fromkeys(snapshot.values.get("proposals", ())),
            }
            await graph.aupdate_state(config, update, as_node=AGGREGATOR)
        return str(question.text)

    async def _run_turn(
        self, input_for_turn: InputForTurn, edit: ThreadEditor | None = None
    ) -> None:
        run = CliRun(self.store, self.thread, self.mixture, self._output, self.db)
        answering = self._await_warm_up(run.run_to_end(input_for_turn, edit=edit))
        result = await (_run_until_interrupted(answering) if self.is_interactive else answering)
        if result is None:
            self.print_notice("\nstopped; /redo continues it without repeating stored calls")
        else:
            if self._answer_count and not sys.stdout.isatty():
                typer.echo()
            self._answer_count += 1
            self._output.print_result(result)

    async def _await_warm_up(self, answering: Coroutine[Any, Any, CliRunResult]) -> CliRunResult:
        with closing(answering):
            if self._warm_up:
                await asyncio.wait([asyncio.wrap_future(self._warm_up)])
            return await answering

    def _question_is_unstored(self, thread: StoredThread | None) -> bool:
        """Whether the run was stopped before it stored the last question."""
        stored_ids = {message.id for message in thread.messages} if thread else set()
        return self._question is not None and self._question.id not in stored_ids


def _build_graph(mixture: MoAConfig) -> None:
    """Build the graph and its models; errors are reported at the next question."""
    with suppress(Exception):
        mixture.graph(lazy=False).compile()


async def _run_until_interrupted(
    answering: Coroutine[Any, Any, CliRunResult],
) -> CliRunResult | None:
    """Run to the end, or return `None` after Ctrl-C."""
    task, loop = asyncio.ensure_future(answering), asyncio.get_running_loop()

    def stop(*_: object) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGINT, stop)
    try:
        with suppress(asyncio.CancelledError):
            return await task
    finally:
        signal.signal(signal.SIGINT, before or signal.default_int_handler)
    return None


def _agent_samples(mixture: MoAConfig) -> list[dict[str, int]]:
    """Names and samples of the agents, without their models."""
    return [{name: agent.samples for name, agent in row.items()} for row in mixture.layers]


def _last_turn(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the last question and the messages after it.

    Raises:
        CommandError: If there is no question.
    """
    question_indices = [index for index, each in enumerate(messages) if each.type == "human"]
    if not question_indices:
        raise CommandError("there is no question")
    return messages[question_indices[-1] :]


async def _answered_state(graph: CompiledMoAGraph, config: RunnableConfig) -> dict[str, Any]:
    """Return the state of a thread without an unanswered question."""
    snapshot = await graph.aget_state(config)
    turn = await read_newest_turn(graph, config, snapshot)
    proposals = {} if turn.messages else current_turn_values(graph, snapshot)["proposals"]
    return {"messages": turn.history, "proposals": proposals}


def _repeat_question(messages: list[AnyMessage]) -> list[BaseMessage]:
    """Return the last question as a new turn, so that no earlier proposal counts."""
    turn = _last_turn(messages)
    return [*(RemoveMessage(id=str(each.id)) for each in turn), HumanMessage(turn[0].content)]


def _check_has_layer(layer: int, values: dict[str, Any]) -> None:
    """Reject a layer to restart from if the layer before it has no proposals.

    Raises:
        CommandError: If so.
    """
    if layer and layer not in {p["layer"] for p in values["proposals"].values()}:
        raise CommandError(f"there are no proposals of layer {layer} to start from")


def _rewind_to(name: str, values: dict[str, Any]) -> ThreadEditor:
    """Return the edit that removes an answer and the results from a layer on."""

    async def edit(graph: CompiledMoAGraph, config: RunnableConfig) -> None:
        point = fork_point_in(graph, name)
        before, rest = point.find_way(values)
        messages = _take_answer_back(point.layer, values["messages"])
        # Earlier proposals are written too: an update drops pending writes of nodes.
        proposals = dict.fromkeys(values["proposals"]) | point.take_over(values["proposals"])
        update = {"messages": messages, "proposals": proposals}
        analysis = {"analysis": None} if values.get("analysis") else {}
        await graph.aupdate_state(config, update | analysis | rest, as_node=before)

    return edit


def _take_answer_back(layer: int, messages: list[AnyMessage]) -> list[BaseMessage]:
    """Remove the answer; if no proposal stays, the question is asked as a new turn."""
    if layer == 1:
        return _repeat_question(messages)
    last = messages[-1]
    return [RemoveMessage(id=str(last.id))] if last.type == "ai" else []
