"""Attachments after a question: mark and find them. Pure functions.

With the marks, models and the offline agents can distinguish attachments from the question.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

_FILE, _CONTEXT = "file", "context"
_OPENING = re.compile(r'<(?:file name="([^"\n]*)"|(context))>\n')


class AttachedText(NamedTuple):
    """A message, split into its question and its attachments."""

    question: str
    """The text outside of all attachments."""
    attachments: list[str]


def enclose_file(text: str, name: str) -> str:
    """Mark the text of a file.

    Args:
        text: The content.
        name: Name of the file: one line, without double quotes.
    """
    return _enclose(text, f'{_FILE} name="{name}"', _FILE)


def enclose_context(text: str) -> str:
    """Mark the context of a question."""
    return _enclose(text, _CONTEXT, _CONTEXT)


class _AttachmentMatch(NamedTuple):
    file_name: str | None
    """`None` for the context of a question."""
    text: str
    start: int
    end: int


def split_attachments(text: str) -> AttachedText:
    """Split a message; an unclosed mark is a part of the question."""
    outside, attachments, position = list[str](), list[str](), 0
    for attachment in _find_attachments(text):
        outside.append(text[position : attachment.start])
        attachments.append(attachment.text)
        position = attachment.end
    return AttachedText("".join([*outside, text[position:]]), attachments)


def list_attached_files(text: str) -> list[str]:
    """Return the names of the files that are attached to a message."""
    return [each.file_name for each in _find_attachments(text) if each.file_name is not None]


def remove_attachments(text: str) -> str:
    """Return a question without its attachments."""
    question, attachments = split_attachments(text)
    return question.strip() if attachments else text


def _find_attachments(text: str) -> Iterator[_AttachmentMatch]:
    position, unclosed = 0, set[str]()
    for opening in _OPENING.finditer(text):
        name = opening[2] or _FILE
        if opening.start() < position or name in unclosed:
            continue
        closing = f"\n</{name}>"
        if (end := text.find(closing, opening.end())) < 0:
            unclosed.add(name)  # no later one is closed either
            continue
        position = end + len(closing)
        yield _AttachmentMatch(opening[1], text[opening.end() : end], opening.start(), position)


def _enclose(text: str, tag: str, name: str) -> str:
    text = text.replace(f"</{name}>", f"<\\/{name}>")
    return f"<{tag}>\n{text}\n</{name}>"
