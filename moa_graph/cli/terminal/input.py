"""Where the lines of a chat come from: a person at a terminal, or a pipe."""

import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from io import TextIOWrapper
from pathlib import Path
from typing import Protocol

from platformdirs import user_data_path
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import DummyOutput, Output, create_output

LineCompleter = Callable[[str], Iterable[str]]
"""Gives the words that may stand where a line, so far, ends."""


class ChatInput(Protocol):
    """Gives one question or command at a time."""

    async def read_line(self) -> str:
        """Read the next.

        Raises:
            EOFError: If there is none.
            KeyboardInterrupt: If the line is to be cleared.
        """


class InteractiveInput:
    """A person: editing, history, completion."""

    def __init__(self, words: LineCompleter) -> None:
        self._session: PromptSession[str] = PromptSession(
            "> ",
            history=_open_history(),
            completer=_CommandCompleter(words),
            complete_while_typing=False,
            key_bindings=_make_key_bindings(),
            multiline=True,
            prompt_continuation=". ",
            output=_make_output(),
        )

    async def read_line(self) -> str:
        """Read what is typed."""
        return await self._session.prompt_async()


class StdinInput:
    """A pipe or a file: lines."""

    def __init__(self) -> None:
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")

    async def read_line(self) -> str:
        """Read a line, and those that a backslash at its end joins to it."""
        line = self._read_raw_line()
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{self._read_raw_line()}"
        return line

    def _read_raw_line(self) -> str:
        # Nothing else runs meanwhile; Ctrl-C is to end the wait.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            line = sys.stdin.readline()
        finally:
            signal.signal(signal.SIGINT, before or signal.default_int_handler)
        if not line:
            raise EOFError
        return line.removesuffix("\n")


def _make_output() -> Output | None:
    """Where answers go into a file, the prompt stays on the terminal."""
    if sys.stdout.isatty():
        return None
    return create_output(stdout=sys.stderr) if sys.stderr.isatty() else DummyOutput()


def _open_history() -> History:
    """Open the history; where it cannot be kept, it is that of this chat."""
    try:
        return FileHistory(str(create_history_file()))
    except (OSError, RuntimeError):  # there is no home, or no room in it
        return InMemoryHistory()


def create_history_file() -> Path:
    """Make the file that keeps what was asked, for nobody else to read."""
    path = user_data_path("moa_graph", appauthor=False) / "chat_history"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    return path


def _make_key_bindings() -> KeyBindings:
    """Let Enter send, and Alt+Enter or a backslash at the end begin a new line."""
    bindings = KeyBindings()

    @bindings.add("enter")
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


class _CommandCompleter(Completer):
    """Completes commands, not questions."""

    def __init__(self, words: LineCompleter) -> None:
        self._complete_line = words

    def get_completions(self, document: Document, _: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/") or "\n" in line:
            return
        prefix = line.rpartition(" ")[2]
        for word in self._complete_line(line):
            if word.startswith(prefix):
                yield Completion(word, start_position=-len(prefix))
