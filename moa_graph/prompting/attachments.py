"""Text that stands behind a question: how it is marked, and found again. Pure functions.

The mark keeps a model, and the offline agents, from taking what is attached for the question.
"""

import re
from typing import NamedTuple

_FILE, _CONTEXT = "file", "context"
_OPENING = re.compile(r'<(?:file name="[^"\n]*"|(context))>\n')


class AttachedText(NamedTuple):
    """A message, taken apart."""

    question: str
    """What stands outside of all attachments."""
    attachments: list[str]


def enclose_file(text: str, name: str) -> str:
    """Mark the text of a file.

    Args:
        text: What is in it.
        name: What it is called: one line, without double quotes.
    """
    return _enclose(text, f'{_FILE} name="{name}"', _FILE)


def enclose_context(text: str) -> str:
    """Mark what an answer depends on."""
    return _enclose(text, _CONTEXT, _CONTEXT)


def split_attachments(text: str) -> AttachedText:
    """Take a message apart; a mark that is not closed is a part of the question."""
    outside, attachments, position, unclosed = list[str](), list[str](), 0, set[str]()
    for opened in _OPENING.finditer(text):
        name = opened[1] or _FILE
        if opened.start() < position or name in unclosed:
            continue
        closing = f"\n</{name}>"
        if (end := text.find(closing, opened.end())) < 0:
            unclosed.add(name)  # nor will another one be
            continue
        outside.append(text[position : opened.start()])
        attachments.append(text[opened.end() : end])
        position = end + len(closing)
    return AttachedText("".join([*outside, text[position:]]), attachments)


def remove_attachments(text: str) -> str:
    """Give what was asked, without what is attached."""
    question, attachments = split_attachments(text)
    return question.strip() if attachments else text


def _enclose(text: str, tag: str, name: str) -> str:
    text = text.replace(f"</{name}>", f"<\\/{name}>")
    return f"<{tag}>\n{text}\n</{name}>"
