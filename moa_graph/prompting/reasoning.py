"""Extract the reasoning of a model from its answer. Pure functions."""

from langchain_core.messages import AIMessage

from moa_graph.prompting.surrogates import replace_surrogates
from moa_graph.prompting.thoughts import split_thoughts
from moa_graph.prompting.tokens import count_tokens

MIN_REASONING_TOKENS = 32
"""Minimum number of tokens for reasoning: a few words are useless."""


def read_reasoning(answer: AIMessage) -> str:
    """Return a model's reasoning: from blocks, from fields, or from tags in the text."""
    try:
        blocks = answer.content_blocks
    except (
        AttributeError,
        KeyError,
        TypeError,
        ValueError,
    ):  # content blocks unknown to LangChain
        blocks = []
    texts = [str(b.get("reasoning") or "") for b in blocks if b.get("type") == "reasoning"]
    parts = [*map(replace_surrogates, texts), split_thoughts(answer.text)[0]]
    return "\n\n".join(text for part in parts if (text := part.strip()))


def reasoning_room(content: str, max_tokens: int | None) -> int | None:
    """Return the maximum number of tokens of reasoning after an answer; `None` for no limit.

    Args:
        content: The answer.
        max_tokens: Maximum number of tokens of both.
    """
    if max_tokens is None:
        return None
    room = max_tokens - count_tokens(content)
    return room if room >= MIN_REASONING_TOKENS else 0
