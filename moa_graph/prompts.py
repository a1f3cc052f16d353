"""The paper's prompt, and where it is placed. Pure functions of text and messages."""

from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.messages import AnyMessage, SystemMessage

AGGREGATE_AND_SYNTHESIZE = (
    "You have been provided with a set of responses from various open-source models to the latest "
    "user query. Your task is to synthesize these responses into a single, high-quality response. "
    "It is crucial to critically evaluate the information provided in these responses, recognizing "
    "that some of it may be biased or incorrect. Your response should not simply replicate the "
    "given answers but should offer a refined, accurate, and comprehensive reply to the "
    "instruction. Ensure your response is well-structured, coherent, and adheres to the highest "
    "standards of accuracy and reliability."
)
"""The aggregate-and-synthesize prompt (Wang et al. 2024, Table 1)."""

REFERENCES_HEADING = "Responses from models:"


def template_references(references: Iterable[str], prompt: str = AGGREGATE_AND_SYNTHESIZE) -> str:
    """Put the proposals of a layer below the prompt, as the authors' code does.

    Args:
        references: The proposals, in configured order. They carry no model names, which would
            sway the reader.
        prompt: What the reader is to do with them.

    Returns:
        The prompt, a blank line, the heading, and a numbered line for each reference.
    """
    numbered = (f"\n{number}. {text}" for number, text in enumerate(references, 1))
    return f"{prompt}\n\n{REFERENCES_HEADING}{''.join(numbered)}"


def add_system(
    messages: Sequence[AnyMessage], text: str, *, in_front: bool = False
) -> list[AnyMessage]:
    """Add text to the system message that a conversation starts with, a blank line between.

    Args:
        messages: The conversation; left as it is.
        text: What to add.
        in_front: Whether the text goes before what the system message says, not after it.

    Returns:
        A new list that starts with exactly one system message: where the conversation has none
        in front, the text becomes one.
    """
    if not messages or not isinstance(first := messages[0], SystemMessage):
        return [SystemMessage(text), *messages]
    if isinstance(first.content, str):
        parts = (text, first.content) if in_front else (first.content, text)
        content: str | list[str | dict[str, Any]] = "\n\n".join(parts)
    elif in_front:
        content = [{"type": "text", "text": f"{text}\n\n"}, *first.content]
    else:
        content = [*first.content, {"type": "text", "text": f"\n\n{text}"}]
    return [first.model_copy(update={"content": content}), *messages[1:]]
