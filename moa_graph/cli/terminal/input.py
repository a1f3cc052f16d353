"""Input lines of a chat, from a terminal or a pipe."""

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
"""Returns the completions of a line."""


class ChatInput(Protocol):
    """Source of questions and commands."""

    async def read_line(self) -> str:
        """Read the next line.

        Raises:
            EOFError: At the end of the input.
            KeyboardInterrupt: If Ctrl-C clears the line.
        """


class InteractiveInput:
    """Input from a terminal, with editing, history and completion."""

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
        """Read a line from the terminal."""
        return await self._session.prompt_async()


class StdinInput:
    """Input from a pipe or a file."""

    def __init__(self) -> None:
        if isinstance(sys.stdin, TextIOWrapper):
            sys.stdin.reconfigure(errors="replace")

    async def read_line(self) -> str:
        """Read a line; a backslash at its end joins the next one."""
        line = self._read_raw_line()
        while line.endswith("\\"):
            line = f"{line[:-1]}\n{self._read_raw_line()}"
        return line

    def _read_raw_line(self) -> str:
        # Blocking is fine because nothing else runs; Ctrl-C must end the wait.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            line = sys.stdin.readline()
        finally:
            signal.signal(signal.SIGINT, before or signal.default_int_handler)
        if not line:
            raise EOFError
        return line.removesuffix("\n")


def _make_output() -> Output | None:
    """Return the terminal for the prompt if answers go to a file."""
    if sys.stdout.isatty():
        return None
    return create_output(stdout=sys.stderr) if sys.stderr.isatty() else DummyOutput()


def _open_history() -> History:
    """Open the history file; if that fails, keep the history in memory."""
    try:
        return FileHistory(str(create_history_file()))
    except (OSError, RuntimeError):  # no home folder, or no space
        return InMemoryHistory()


def create_history_file() -> Path:
    """Create the history file, readable only by its owner."""
    path = user_data_path("moa_graph", appauthor=False) / "chat_history"
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    return path


def _make_key_bindings() -> KeyBindings:
    """Bind Enter to send, and Alt+Enter or a final backslash to start a new line."""
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
