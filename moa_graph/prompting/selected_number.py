"""Parse the number of the response that a reply selects. Pure functions.

A reply selects a response by a number at its beginning ("2. It is right") or in a clause ("I'd go
with 2"). Every other clause praises a response, criticizes it, or neither. The reply is valid if it
selects exactly one response, does not criticize that one, and praises no other.
"""

import re
from collections.abc import Iterator, Sequence

from moa_graph.prompting.reply_judgements import ReplyJudgements, begins_with_fault
from moa_graph.prompting.reply_references import NOUN, REF, normalize_reply, ref_number

_REPEATED_CHARS = 12  # characters of a response that are not repeated by chance

# Formats for programs: JSON keys, tags and boxes.
_KEY = re.compile(r'"([A-Za-z_ ]{1,30})"\s{0,9}:')
_REASON_KEYS = {
    *("reason", "reasons", "reasoning", "explanation", "why", "justification", "rationale"),
    *("analysis", "thought", "thoughts"),
}
_PICK_KEYS = "best|best_response|best_answer|choice|selected|selected_response|pick|winner"
_NUMBER_KEYS = f"{_PICK_KEYS}|number|response|answer|option|response_number"
_KEYED_NUMBER = rf'"(?:%s)"\s{{0,9}}:\s{{0,9}}"?(?:{NOUN} )?([0-9]{{1,4}})"?(?=\s{{0,9}}[,}}\]])'
_PICK_BY_KEY = re.compile(_KEYED_NUMBER % _PICK_KEYS, re.IGNORECASE)
_NUMBER_BY_KEY = re.compile(_KEYED_NUMBER % _NUMBER_KEYS, re.IGNORECASE)
_TAGGED_NUMBER = re.compile(
    rf"(?:<answer>\s{{0,9}}(?:{NOUN} )?|\\boxed\{{)([0-9]{{1,4}})(?:\s{{0,9}}</answer>|\}})",
    re.IGNORECASE,
)

_LEAD = re.compile(  # a number at the beginning: alone on its line, of a list, before a reason
    rf"\s{{0,8}}(?P<number>{REF})"
    r"(?:(?P<alone>[.:;!)]{0,3} ?(?:$|\n))|[.;!)]{1,3} |(?P<colon>:) "
    r"|,? (?=(?:because|since|as (?:it|this|that|the|@[0-9]+|#[0-9]+)|(?:and )?not [@#][0-9]+)\b)"
    r"| (?=[\u2013\u2014-] |\())\s{0,8}(?:[\u2013\u2014-] |\()?"
)
_ITEM = re.compile(  # next number of a list: in a line, or at the start of a sentence
    r"(?:^|[.;,!?] |\s(?=[@#][0-9]{1,4}[:)]))(?P<number>[@#][0-9]{1,4})"
    r"(?:[).:]{1,3}(?=\s|$)| [\u2013\u2014-] | ?$| \()",
    re.MULTILINE,
)


def read_selected_number(text: str, count: int, responses: Sequence[str] = ()) -> int | None:
    """Return the number of the response that a reply selects.

    Args:
        text: The reply.
        count: Number of responses.
        responses: Texts of the responses: a reply may repeat them without judging.

    Returns:
        The number, which may not be that of a response; `None` if the selection is ambiguous.
    """
    sentences = _name_marked_numbers(text)
    if _NUMBER_BY_KEY.search(sentences):  # with other keys it may be a score or a list
        return None
    plain = normalize_reply(sentences)
    lead = _LEAD.match(plain)
    if not lead:
        return ReplyJudgements(count).read(plain).number
    number, rest = ref_number(lead["number"]), plain[lead.end() :]
    if not lead["alone"]:
        remainder = _skip_copy(rest, number, responses)
        if remainder is None:
            return None
        if remainder == rest and (lead["colon"] or begins_with_fault(rest, number)):
            return None
        rest = remainder
    listed = {ref for ref in _find_items(rest) if not lead["alone"] or ref[0] == "#"}
    if any(0 < ref_number(ref) <= count and ref_number(ref) != number for ref in listed):
        return None
    return ReplyJudgements(count, number).read(rest).number


def _name_marked_numbers(text: str) -> str:
    """Replace a number in tags or under a JSON key for it by a sentence."""
    keys = {key.lower() for key in _KEY.findall(text)} - _REASON_KEYS
    pattern = _NUMBER_BY_KEY if len(keys) == 1 else _PICK_BY_KEY
    return _TAGGED_NUMBER.sub(r"\nbest is \1\n", pattern.sub(r"\nbest is \1\n", text))


def _skip_copy(rest: str, number: int, responses: Sequence[str]) -> str | None:
    """Remove the text of the selected response from a reply; `None` if it repeats another."""
    texts = [normalize_reply(each) for each in responses]
    copied = [n for n, each in enumerate(texts, 1) if _is_copy(rest, each)]
    if not copied:
        return rest
    if number not in copied:
        return None
    own = texts[number - 1]
    return rest[len(own) :] if rest.startswith(own) else rest.partition("\n")[2]


def _is_copy(rest: str, response: str) -> bool:
    start = response[:_REPEATED_CHARS]
    is_start = len(start) == _REPEATED_CHARS and rest.startswith(start)
    return is_start or rest.partition("\n")[0].strip(" .)") == response.strip(" .)") != ""


def _find_items(rest: str) -> Iterator[str]:
    return (match["number"] for match in _ITEM.finditer(rest))
