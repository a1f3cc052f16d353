"""The scorer of IFEval's instructions (arXiv 2311.07911) that need no language model.

The checks are the strict ones of the published `instructions.py`, each in linear time.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from operator import ge, lt
from typing import Any

from moa_graph.evals.scorers.protocol import Score, Scorer

Check = Callable[[str, Mapping[str, Any]], bool]

_RELATIONS: Mapping[str, Callable[[int, int], bool]] = {"less than": lt, "at least": ge}
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_WORD = re.compile(r"\w+")
_HIGHLIGHT = re.compile(r"\*[^\n*]*\*")
_DOUBLE_HIGHLIGHT = re.compile(r"\*\*[^\n*]*\*\*")
_WORD_ENDS = re.compile(r"[.,?!'\"]")
_POSTSCRIPTS = {"P.P.S": re.compile(r"p\.\s?p\.\s?s"), "P.S.": re.compile(r"p\.\s?s\.")}
_FENCES = ("```json", "```Json", "```JSON", "```")


class InstructionFollowing(Scorer):
    """Passes if the answer follows each instruction in the row's `instruction_id_list`."""

    name = "ifeval"
    required_keys: Sequence[str] = ("instruction_id_list", "kwargs")
    reads_answers = False

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row with an instruction that cannot be checked."""
        super().check_row(row)
        ids, options = row["instruction_id_list"], row["kwargs"]
        if not isinstance(ids, list) or not isinstance(options, list) or len(ids) != len(options):
            raise ValueError(
                "scorer ifeval: expected two lists of the same length in `instruction_id_list` "
                "and `kwargs`"
            )
        if unknown := unknown_instructions(row):
            raise ValueError(
                f"scorer ifeval: cannot check {', '.join(unknown)}; it checks {', '.join(CHECKS)}"
            )

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Check each instruction; the answer is right if it follows all of them."""
        pairs = zip(row["instruction_id_list"], row["kwargs"], strict=True)
        parts = {
            f"{number} {name}": float(bool(answer.strip()) and CHECKS[name](answer, given or {}))
            for number, (name, given) in enumerate(pairs, 1)
        }
        failed = [part.partition(" ")[2] for part, points in parts.items() if not points]
        return Score(float(not failed), None, parts, ", ".join(failed) or None)


def unknown_instructions(row: Mapping[str, Any]) -> list[str]:
    """Return the instructions of a row that cannot be checked."""
    return [name for name in row["instruction_id_list"] if name not in CHECKS]


def _compare(count: int, options: Mapping[str, Any], key: str, relation: str = "relation") -> bool:
    return _RELATIONS[options[relation]](count, int(options[key]))


def _has_keywords(text: str, options: Mapping[str, Any]) -> bool:
    lowered = text.lower()
    return all(each.lower() in lowered for each in options["keywords"])


def _has_keyword_often(text: str, options: Mapping[str, Any]) -> bool:
    return _compare(text.lower().count(options["keyword"].lower()), options, "frequency")


def _lacks_words(text: str, options: Mapping[str, Any]) -> bool:
    words = [rf"\b{re.escape(each)}\b" for each in options["forbidden_words"]]
    return not any(re.search(each, text, re.IGNORECASE) for each in words)


def _has_letter_often(text: str, options: Mapping[str, Any]) -> bool:
    count = text.lower().count(options["letter"].lower())
    return _compare(count, options, "let_frequency", "let_relation")


def _has_paragraphs(text: str, options: Mapping[str, Any]) -> bool:
    """Count paragraphs between three stars; only the first and last may be empty."""
    parts = [each.strip() for each in text.split("***")]
    if not all(parts[1:-1]):
        return False
    return sum(map(bool, parts)) == int(options["num_paragraphs"])


def _has_words(text: str, options: Mapping[str, Any]) -> bool:
    return _compare(sum(1 for _ in _WORD.finditer(text)), options, "num_words")


def _begins_paragraph(text: str, options: Mapping[str, Any]) -> bool:
    paragraphs = text.split("\n\n")
    filled = sum(bool(each.strip()) for each in paragraphs)
    place = int(options["nth_paragraph"])
    if filled != int(options["num_paragraphs"]) or place > len(paragraphs):
        return False
    words = paragraphs[place - 1].split(maxsplit=1)
    first = _WORD_ENDS.split(words[0].lstrip("'\""), maxsplit=1)[0] if words else ""
    return bool(words) and first.lower() == options["first_word"].lower()


def _has_placeholders(text: str, options: Mapping[str, Any]) -> bool:
    count = 0
    for line in text.split("\n"):
        place = line.find("[")
        while place >= 0 and (end := line.find("]", place)) >= 0:
            count, place = count + 1, line.find("[", end)
    return count >= int(options["num_placeholders"])


def _has_postscript(text: str, options: Mapping[str, Any]) -> bool:
    marker = options["postscript_marker"]
    pattern = _POSTSCRIPTS.get(marker) or re.compile(re.escape(marker.lower()))
    return pattern.search(text.lower()) is not None


def _has_bullets(text: str, options: Mapping[str, Any]) -> bool:
    lines = [line.strip() for line in text.split("\n")]
    stars = sum(line.startswith("*") and line[1:2] not in {"", "*"} for line in lines)
    return stars + sum(line.startswith("-") for line in lines) == int(options["num_bullets"])


def _is_constrained(text: str, _: Mapping[str, Any]) -> bool:
    return any(each in text for each in _CONSTRAINED)


def _has_highlights(text: str, options: Mapping[str, Any]) -> bool:
    single = sum(bool(each.strip("*").strip()) for each in _HIGHLIGHT.findall(text))
    double = sum(bool(each[2:-2].strip()) for each in _DOUBLE_HIGHLIGHT.findall(text))
    return single + double >= int(options["num_highlights"])


def _has_sections(text: str, options: Mapping[str, Any]) -> bool:
    pattern = re.compile(rf"{re.escape(options['section_spliter'])}\s?\d+")
    return sum(1 for _ in pattern.finditer(text)) >= int(options["num_sections"])


def _is_json(text: str, _: Mapping[str, Any]) -> bool:
    plain = text.strip()
    for fence in _FENCES:
        plain = plain.removeprefix(fence)
    try:
        json.loads(plain.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str, _: Mapping[str, Any]) -> bool:
    for line in text.split("\n"):
        start, end = line.find("<<"), line.rfind(">>")
        if start >= 0 and line[start:end].strip("< >"):
            return True
    return False


def _has_two_responses(text: str, _: Mapping[str, Any]) -> bool:
    parts = [each.strip() for each in text.split("******")]
    filled = [each for each in parts if each]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def _repeats_prompt(text: str, options: Mapping[str, Any]) -> bool:
    return text.strip().lower().startswith(options["prompt_to_repeat"].strip().lower())


def _ends_with(text: str, options: Mapping[str, Any]) -> bool:
    return text.strip().strip('"').lower().endswith(options["end_phrase"].strip().lower())


def _is_quoted(text: str, _: Mapping[str, Any]) -> bool:
    plain = text.strip()
    return len(plain) > 1 and plain.startswith('"') and plain.endswith('"')


def _is_upper(text: str, _: Mapping[str, Any]) -> bool:
    return text.isupper()


def _is_lower(text: str, _: Mapping[str, Any]) -> bool:
    return text.islower()


def _lacks_commas(text: str, _: Mapping[str, Any]) -> bool:
    return "," not in text


CHECKS: Mapping[str, Check] = {
    "keywords:existence": _has_keywords,
    "keywords:frequency": _has_keyword_often,
    "keywords:forbidden_words": _lacks_words,
    "keywords:letter_frequency": _has_letter_often,
    "length_constraints:number_paragraphs": _has_paragraphs,
    "length_constraints:number_words": _has_words,
    "length_constraints:nth_paragraph_first_word": _begins_paragraph,
    "detectable_content:number_placeholders": _has_placeholders,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _has_bullets,
    "detectable_format:constrained_response": _is_constrained,
    "detectable_format:number_highlighted_sections": _has_highlights,
    "detectable_format:multiple_sections": _has_sections,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _has_two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with,
    "startend:quotation": _is_quoted,
    "change_case:english_capital": _is_upper,
    "change_case:english_lowercase": _is_lower,
    "punctuation:no_comma": _lacks_commas,
}
"""The supported instructions, by their published id. The checks of upper and lower case do not
check that the text is English. `language:response_language`,
`length_constraints:number_sentences` and `change_case:capital_word_frequency` are not supported,
because they need language detection and sentence and word segmentation."""
