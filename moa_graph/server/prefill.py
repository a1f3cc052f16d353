"""Prefilled answers: conversations that end in an assistant message.

Providers differ: some continue such a message, some answer it, some reject it. Therefore a prompt
asks the models to continue, and a repeated beginning is removed from the answer. The client
receives only the rest, as from llama.cpp and vLLM.
"""

from collections.abc import Sequence

from langchain_core.messages import AIMessage, AIMessageChunk, AnyMessage, HumanMessage

from moa_graph.graph.run_summary import read_run_summary

CONTINUE = (
    "Continue your last message from exactly where it ends. Write only what follows; repeat "
    "nothing of it, and say nothing about this request."
)
"""Prompt after the beginning of the answer."""


def ask_to_continue(messages: Sequence[AnyMessage]) -> list[AnyMessage]:
    """Ask for the rest of the last message."""
    return [*messages, HumanMessage(CONTINUE)]


class RepetitionFilter:
    """Removes the beginning from an answer that repeats it instead of continuing."""

    def __init__(self, beginning: str) -> None:
        self._beginning = beginning
        self._repeated = 0  # number of repeated characters, which are held back
        self._is_open = True

    def filter_answer(self, answer: AIMessage) -> AIMessage:
        """Copy a complete answer without the repetition."""
        text = answer.text.removeprefix(self._beginning)
        return answer.model_copy(update={"content": text})

    def filter_chunk(self, chunk: AIMessageChunk) -> AIMessageChunk:
        """Copy a chunk without held-back text; the last chunk has all of it."""
        text = self._feed(chunk.text)
        if read_run_summary(chunk) and self._is_open:
            text, self._is_open = text + self._beginning[: self._repeated], False
        return chunk.model_copy(update={"content": text})

    def _feed(self, text: str) -> str:
        if not self._is_open:
            return text
        held, rest = self._repeated, len(self._beginning) - self._repeated
        if len(text) < rest and self._beginning.startswith(text, held):
            self._repeated += len(text)
            return ""
        self._is_open = False
        repeats = text.startswith(self._beginning[held:])
        return text[rest:] if repeats else self._beginning[:held] + text
