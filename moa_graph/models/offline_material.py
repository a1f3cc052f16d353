"""What offline agents read: the question, its material, and responses of models."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from langchain_core.messages import BaseMessage, HumanMessage, SystemMessage

from moa_graph.models.sentences import WORD, split_sentences
from moa_graph.prompting.attachments import split_attachments
from moa_graph.prompting.layout import ANALYSIS_HEADING, NAME_THE_BEST, RANK_ALL, REFERENCES_HEADING

NOTICE = "No language model is configured."


class ParsedConversation(NamedTuple):
    """The question, material and references of a conversation."""

    question: str
    sentences: list[str]
    references: list[str]


def parse_conversation(messages: Sequence[BaseMessage]) -> ParsedConversation:
    """Split a conversation into question, material and references."""
    material: list[str] = []
    question = ""
    for message in messages:
        if isinstance(message, HumanMessage):
            question, new_material = _split_user_message(message.text)
            material += new_material
    system = messages[0].text if messages and isinstance(messages[0], SystemMessage) else ""
    references = [
        text for text in _parse_numbered_references(system) if not text.startswith(NOTICE)
    ]
    return ParsedConversation(question, list(dict.fromkeys(material)), references)


def find_candidate_responses(messages: Sequence[BaseMessage]) -> list[str]:
    """Return the responses to pick from; empty if an answer is requested."""
    if not messages or not messages[-1].text.endswith((NAME_THE_BEST, RANK_ALL)):
        return []
    return _parse_enclosed_references(messages[-1].text) or _parse_numbered_references(
        messages[0].text
    )


def _split_user_message(text: str) -> tuple[str, list[str]]:
    """Split a user message into the question and the sentences of the material."""
    outside, attachments = split_attachments(text)
    own_sentences = split_sentences(outside)
    question_sentences = [
        sentence for sentence in own_sentences if sentence.endswith(("?", "\uff1f", "\u061f"))
    ]
    if not question_sentences:
        question_sentences = own_sentences if attachments else own_sentences[:1]
    used = set(question_sentences)
    material = [sentence for sentence in own_sentences if sentence not in used]
    material += [each for attached in attachments for each in split_sentences(attached)]
    return " ".join(question_sentences), [
        each for each in material if len(re.findall(WORD, each)) > 1
    ]


def _parse_numbered_references(system: str) -> list[str]:
    """Parse the text of `template_references`.

    A numbered list inside a reference may be parsed as further references; no text is lost.
    """
    _, heading, rest = system.rpartition(f"\n\n{REFERENCES_HEADING}\n1. ")
    rest = rest.partition(f"\n\n{ANALYSIS_HEADING}\n")[0]  # not a response
    references, start = list[str](), 0
    while heading and start < len(rest):
        end = rest.find(mark := f"\n{len(references) + 2}. ", start)
        end = len(rest) if end < 0 else end
        references.append(rest[start:end])
        start = end + len(mark)
    return references


def _parse_enclosed_references(text: str) -> list[str]:
    """Parse the text of `enclose_references` at the end: a question may contain similar tags."""
    if not (keys := re.findall(r"<response-(\w+) 1>\n", text)):
        return []
    ends = f"\n</response-{keys[-1]} "
    closed, mark, _ = text.rpartition(ends)
    return re.findall(rf"<response-{keys[-1]} \d+>\n(.*?){ends}", closed + mark, re.DOTALL)
