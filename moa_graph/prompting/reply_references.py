"""References to responses in a reply: "response 2" and "2" in one normalized form."""

import re

NOUN = "(?:response|answer|option|reply|candidate|number|choice|proposal)"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_AFTER_NUMBER = r"(?![\w/%]|[.,:\u2013\u2014-][0-9])"

# Normalized form: "@2" for a number with a noun ("response 2"), "#2" for a number alone.
REF = "[@#][0-9]{1,4}"
_NAMED_REF = re.compile(
    rf"\b(?:the )?{NOUN} ?(?:number ?|no\. ?)?[(\[]?"
    rf"(?:(?P<number>[0-9]{{1,4}}){_AFTER_NUMBER}|(?P<word>{'|'.join(_NUMBER_WORDS)})"
    r"(?=[)\]]? ?(?:$|[.,;:!]|\b(?:is|because|since|as|over)\b)))",
    re.MULTILINE,
)
_BARE_REF = re.compile(rf"(?<![\w@.,/$%\u2013\u2014-])([0-9]{{1,4}}){_AFTER_NUMBER}")
_MARKUP = re.compile(r"[*_`\"#\\\u201c\u201d]|'(?=[0-9])|(?<=[0-9])'|<[a-z/]{1,12}>")


def normalize_reply(text: str) -> str:
    """Convert a text to lower case without markup, with its numbers as references."""
    text = _MARKUP.sub("", text.replace("\u2019", "'")).lower()
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"[(\[]([0-9]{1,4})[)\]]", r"\1)", text)
    text = _NAMED_REF.sub(_to_ref, text)
    text = _BARE_REF.sub(r"#\1", text)
    return re.sub(rf":\s{{1,9}}(?={REF} {{0,4}}(?:[.,;!)\n]|$))", " is ", text).strip()


def _to_ref(match: re.Match[str]) -> str:
    return f"@{match['number'] or _NUMBER_WORDS.index(match['word']) + 1}"


def ref_number(ref: str) -> int:
    """Return the number in a reference: 2 for "@2"."""
    return int(ref[1:])
