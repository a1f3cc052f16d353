"""`moa chat`: a conversation with a mixture, on one thread."""

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

from moa_graph.cli.actions.chat_commands import Commands
from moa_graph.cli.actions.fork import last_node, layer_number
from moa_graph.cli.actions.run import (
    ChooseInput,
    Edit,
    Output,
    Result,
    Run,
    ask,
    resume,
)
from moa_graph.cli.choice import choose, describe_mixture
from moa_graph.cli.errors import FAILED, CommandError
from moa_graph.cli.terminal.input import Input, Keyboard, Pipe
from moa_graph.cli.terminal.text import line_of, warn
from moa_graph.config.model import MoAConfig
from moa_graph.graph.deadlines import in_thread
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.redaction import describe
from moa_graph.runs.store import (
    CompiledMoA,
    Store,
    Thread,
    open_store,
    read_newest_turn,
    read_thread,
    read_values,
    readable,
    run_config,
)


def chat(chosen: MoAConfig | None, thread: str | None, db: str | None, output: Output) -> None:
    """Talk until there is nothing more to read.

    Args:
        chosen: The mixture; by default the one that the thread was last asked with.
        thread: The thread to go on with; by default a new one.
        db: The database.
        output: What is printed.

    Raises:
        CommandError: If a line of a pipe got no answer; a person has seen it.
    """

    async def run() -> bool:
        # One event loop for all turns: clients keep their connections on it.
        async with open_store(db) as store:
            known = await read_thread(store.saver, thread) if thread else None
            mixture = chosen or (known and readable(known)) or choose()
            name = thread or secrets.token_hex(4)
            return await Chat(store, name, mixture, db, output).talk(known)

    if not asyncio.run(run()):
        raise CommandError("not every line was answered", FAILED)


class Chat:
    """A conversation.

    A thread is held while a question is being answered, not while the prompt waits: a chat that
    is left open locks nobody out, and each turn reads the thread anew.
    """

    def __init__(
        self, store: Store, thread: str, mixture: MoAConfig, db: str | None, output: Output
    ) -> None:
        self.store, self.thread, self.mixture, self.db = store, thread, mixture, db
        self._output, self._person = output, sys.stdin.isatty()
        self._commands = Commands(self)
        self._asked: HumanMessage | None = None
        self._answers = 0
        self._warm: Future[Any] | None = None

    async def talk(self, known: Thread | None = None) -> bool:
        """Read and answer, until there is nothing more to read or someone quits.

        Returns:
            Whether all went well; it always did for a person, who saw what did not.
        """
        lines: Input = Keyboard(self._commands.words) if self._person else Pipe()
        if self._person:  # meanwhile one types; an event loop that imports hears no Ctrl-C
            self._warm = in_thread(_build, self.mixture)
        well = True
        self.say(f"{self._greeting(known)}\n/help lists the commands")
        while True:
            try:
                line = (await lines.read()).strip()
            except EOFError:
                break
            except KeyboardInterrupt:
                if not self._person:
                    raise
                continue
            try:
                if line and not await self._obey(line):
                    break
            except BrokenPipeError:  # nobody reads the answers
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the prompt comes back
                well = False
                warn(f"moa: {_told(error)}")
        self.say(f"thread {self.thread}; go on with: moa chat --thread {self.thread}")
        return well or self._person

    async def ask(self, question: str) -> None:
        """Ask, and print the answer."""
        self._asked = HumanMessage(question, id=str(uuid4()))
        await self._run(partial(ask, question=self._asked))

    async def redo(self, at: str = "") -> None:
        """Answer the last question anew, from a layer on, or go on where a run stopped.

        Raises:
            CommandError: If there is nothing to answer.
        """
        thread = await read_thread(self.store.saver, self.thread)
        if self._asked and self._lost(thread):
            await self._run(partial(ask, question=self._asked))
            return
        thread = await self.read()
        begun = thread.config and _seats(thread.config) == _seats(self.mixture)
        if not thread.finished and not at and begun:
            await self._run(resume)
            return
        layer = layer_number(at, self.mixture, "/redo") if at else 1
        if layer == 1:
            anew = {"messages": _asked_anew(thread.messages)}
            await self._run(lambda _: anew)
        else:
            await self._run(resume, edit=_back_to(layer, await self.values(thread)))

    async def undo(self) -> None:
        """Take back the last question, with its answer if it has one.

        Raises:
            CommandError: If there is no question.
        """
        thread = await read_thread(self.store.saver, self.thread)
        if self._asked and self._lost(thread):
            question = str(self._asked.text)
        else:
            question = await self._remove_last_turn(await self.read())
        self._asked = None
        self.say(f"taken back: {line_of(question)}", always=True)

    async def fork(self) -> None:
        """Go on in a new thread with the conversation so far, without an unanswered question.

        Raises:
            CommandError: If nothing was asked yet.
        """
        thread, name = await self.read(), secrets.token_hex(4)
        graph = readable(thread).graph().compile(checkpointer=self.store.saver)
        kept = await _answered_part(graph, run_config(thread.id, readable(thread)))
        if kept["messages"]:
            await graph.aupdate_state(run_config(name, readable(thread)), kept, as_node=AGGREGATOR)
        is_open = not thread.finished or self._lost(thread)
        left = "; the last question has no answer yet and is not taken along" if is_open else ""
        self.say(f"thread {self.thread} stays as it is{left}; this is thread {name}", always=True)
        self.thread = name

    async def read(self) -> Thread:
        """Read the thread.

        Raises:
            CommandError: If nothing was asked yet.
        """
        thread = await read_thread(self.store.saver, self.thread)
        if thread and thread.messages:
            return thread
        raise CommandError("nothing was asked yet")

    async def values(self, thread: Thread) -> dict[str, Any]:
        """Read the state of the thread."""
        mixture = readable(thread)
        graph = mixture.graph().compile(checkpointer=self.store.saver)
        return await read_values(graph, run_config(thread.id, mixture))

    def say(self, text: str, *, always: bool = False) -> None:
        """Tell a person something; a pipe does not want to know."""
        if always or self._person:
            typer.echo(text, err=True)

    async def _obey(self, line: str) -> bool:
        """Do what a line says, and tell whether to go on."""
        if line.startswith("//"):
            line = line[1:]
        elif line.startswith("/"):
            return await self._commands.obey(line)
        await self.ask(line)
        return True

    async def _remove_last_turn(self, thread: Thread) -> str:
        """Remove the last question and what follows it, and give its text."""
        mixture, question = readable(thread), _last_turn(thread.messages)[0]
        graph = mixture.graph().compile(checkpointer=self.store.saver)
        config = run_config(thread.id, mixture)
        async with self.store.lock(thread.id):
            turn = await read_newest_turn(graph, config)
            kept = list(takewhile(lambda each: each.id != question.id, turn.history))
            values = (await graph.aget_state(config)).values
            update = {
                "messages": turn.replaced_by(kept),
                "proposals": dict.fromkeys(values.get("proposals", ())),
            }
            await graph.aupdate_state(config, update, as_node=AGGREGATOR)
        return str(question.text)

    async def _run(self, choose: ChooseInput, edit: Edit | None = None) -> None:
        run = Run(self.store, self.thread, self.mixture, self._output, self.db)
        answering = self._when_warm(run.to_its_end(choose, edit=edit))
        result = await (_stoppable(answering) if self._person else answering)
        if result is None:
            self.say("\nstopped; /redo goes on with it: no answer that was stored is paid twice")
        else:
            if self._answers and not sys.stdout.isatty():
                typer.echo()
            self._answers += 1
            self._output.print(result)

    async def _when_warm(self, answering: Coroutine[Any, Any, Result]) -> Result:
        with closing(answering):
            if self._warm:
                await asyncio.wait([asyncio.wrap_future(self._warm)])
            return await answering

    def _lost(self, thread: Thread | None) -> bool:
        """Whether the last question was stopped before it was stored."""
        known = {message.id for message in thread.messages} if thread else set()
        return self._asked is not None and self._asked.id not in known

    def _greeting(self, known: Thread | None) -> str:
        text = f"{describe_mixture(self.mixture)}; thread {self.thread}"
        if not known:
            return text
        asked = sum(message.type == "human" for message in known.messages)
        text += f", {asked} question{'' if asked == 1 else 's'} so far"
        return text if known.finished else f"{text}; the last has no answer: /redo"


def _build(mixture: MoAConfig) -> None:
    """Import what a mixture needs; a mistake in it is told when it is asked."""
    with suppress(Exception):
        mixture.graph(lazy=False).compile()


async def _stoppable(answering: Coroutine[Any, Any, Result]) -> Result | None:
    """Run until it ends or Ctrl-C stops it; then there is no result."""
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


def _seats(mixture: MoAConfig) -> list[dict[str, int]]:
    """Who sits where, whatever the models."""
    return [{name: agent.samples for name, agent in row.items()} for row in mixture.layers]


def _last_turn(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Give the last question and what follows it.

    Raises:
        CommandError: If there is no question.
    """
    asked = [index for index, each in enumerate(messages) if each.type == "human"]
    if not asked:
        raise CommandError("there is no question")
    return messages[asked[-1] :]


async def _answered_part(graph: CompiledMoA, config: RunnableConfig) -> dict[str, Any]:
    """Give the state of a thread without a question that has no answer."""
    turn = await read_newest_turn(graph, config)
    values = await read_values(graph, config)
    return {"messages": turn.history, "proposals": {} if turn.messages else values["proposals"]}


def _asked_anew(messages: list[AnyMessage]) -> list[BaseMessage]:
    """Put the last question again, as a turn of its own: no proposal of the old one counts."""
    turn = _last_turn(messages)
    return [*(RemoveMessage(id=str(each.id)) for each in turn), HumanMessage(turn[0].content)]


def _back_to(layer: int, values: dict[str, Any]) -> Edit:
    """Make the edit that takes an answer and the proposals from a layer on away."""
    earlier = [p["layer"] for p in values["proposals"].values()]
    if layer - 1 not in earlier:
        raise CommandError(f"there are no proposals of layer {layer - 1} to begin with")
    # Those before are written as well: an update drops what was only stored as a node's result.
    proposals = {node: p if p["layer"] < layer else None for node, p in values["proposals"].items()}
    last = values["messages"][-1]
    answer = [RemoveMessage(id=last.id)] if last.type == "ai" else []

    async def edit(graph: CompiledMoA, config: RunnableConfig) -> None:
        before = last_node(graph, layer - 1)
        update = {"messages": answer, "proposals": proposals}
        await graph.aupdate_state(config, update, as_node=before)

    return edit


def _told(error: Exception) -> str:
    """Say what went wrong; in a chat one goes on with `/redo`."""
    if not isinstance(error, (CommandError, ValueError, ImportError)):
        return describe(error)
    text = " ".join(str(error).split())
    before, found, _ = text.rpartition("; continue with: ")
    if not found:
        return text
    return f"{before}; /redo asks only what failed, another question replaces this one"
