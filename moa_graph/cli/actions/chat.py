"""Implementation of `moa chat`: the loop that reads questions and commands."""

import asyncio
import secrets

from moa_graph.cli.actions.chat_commands import ChatCommands
from moa_graph.cli.actions.chat_session import ChatSession
from moa_graph.cli.actions.run import OutputOptions
from moa_graph.cli.choice import describe_mixture, load_mixture
from moa_graph.cli.errors import EXIT_FAILED, CommandError
from moa_graph.cli.forgiving_store import open_forgiving_store
from moa_graph.cli.terminal.input import ChatInput, InteractiveInput, StdinInput
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig
from moa_graph.redaction import redacted_message
from moa_graph.runs.stored_threads import StoredThread, read_thread, require_config


def run_chat(
    requested_mixture: MoAConfig | None, thread: str | None, db: str | None, output: OutputOptions
) -> None:
    """Read questions and commands until the input ends.

    Args:
        requested_mixture: The mixture; by default the last one of the thread.
        thread: The thread to continue; by default a new one.
        db: The database.
        output: Output options.

    Raises:
        CommandError: If a line of a pipe got no answer. On a terminal the error was shown.
    """

    async def run() -> bool:
        # All turns share one event loop, because the connections of clients belong to it.
        async with open_forgiving_store(db, thread) as store:
            stored_thread = await read_thread(store.checkpointer, thread) if thread else None
            mixture = (
                requested_mixture
                or (stored_thread and require_config(stored_thread))
                or load_mixture()
            )
            name = thread or secrets.token_hex(4)
            session = ChatSession(store, name, mixture, db, output)
            return await ChatLoop(session).run(stored_thread)

    if not asyncio.run(run()):
        raise CommandError("not every line was answered", EXIT_FAILED)


class ChatLoop:
    """Reads lines: each is a question or a command."""

    def __init__(self, session: ChatSession) -> None:
        self._session = session
        self._commands = ChatCommands(session)

    async def run(self, thread: StoredThread | None = None) -> bool:
        """Process lines until the input ends or the user quits.

        Args:
            thread: The thread, if it exists.

        Returns:
            Whether all lines succeeded; always true on a terminal, where errors were shown.
        """
        session, lines = self._session, self._open_input()
        if session.is_interactive:
            session.start_warm_up()
        session.print_notice(f"{_build_greeting(session, thread)}\n/help lists the commands")
        succeeded = True
        while (line := await self._read_line(lines)) is not None:
            try:
                if line and not await self._run_line(line):
                    break
            except BrokenPipeError:  # standard output is closed
                raise
            except Exception as error:  # noqa: BLE001  # whatever it is, the prompt comes back
                succeeded = False
                print_warning(f"moa: {_describe_error(error)}")
        name = session.thread
        if session.store.keeps_runs:
            session.print_notice(f"thread {name}; continue with: moa chat --thread {name}")
        return succeeded or session.is_interactive

    def _open_input(self) -> ChatInput:
        if self._session.is_interactive:
            return InteractiveInput(self._commands.complete_line)
        return StdinInput()

    async def _read_line(self, lines: ChatInput) -> str | None:
        """Read a line; `None` at the end of the input, empty if Ctrl-C cleared the line."""
        try:
            return (await lines.read_line()).strip()
        except EOFError:
            return None
        except KeyboardInterrupt:
            if not self._session.is_interactive:
                raise
            return ""

    async def _run_line(self, line: str) -> bool:
        """Process a line, and return whether to continue."""
        if line.startswith("//"):
            line = line[1:]
        elif line.startswith("/"):
            return await self._commands.run(line)
        await self._session.ask_question(line)
        return True


def _build_greeting(session: ChatSession, thread: StoredThread | None) -> str:
    text = f"{describe_mixture(session.mixture)}; thread {session.thread}"
    if not thread:
        return text
    question_count = sum(message.type == "human" for message in thread.messages)
    text += f", {question_count} question{'' if question_count == 1 else 's'} so far"
    return text if thread.is_finished else f"{text}; the last has no answer: /redo"


def _describe_error(error: Exception) -> str:
    """Describe an error; a chat suggests `/redo`."""
    if not isinstance(error, (CommandError, ValueError, ImportError)):
        return redacted_message(error)
    text = " ".join(str(error).split())
    before, separator, _ = text.rpartition("; continue with: ")
    if not separator:
        return text
    return f"{before}; /redo repeats only failed calls, another question replaces this one"
