"""Parse the number of the response that a reply selects. Pure functions.

A reply selects a response by a number at its beginning ("2. It is right") or in a clause ("I'd go
with 2"). Every other clause praises a response, criticizes it, or neither. The reply is valid if it
selects exactly one response, does not criticize that one, and praises no other.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Self

_REPEATED_CHARS = 12  # characters of a response that are not repeated by chance

_NOUN = "(?:response|answer|option|reply|candidate|number|choice|proposal)"
_NUMBER_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_AFTER_NUMBER = r"(?![\w/%]|[.,:\u2013\u2014-][0-9])"

# Normalized form: "@2" for a number with a noun ("response 2"), "#2" for a number alone.
_REF = "[@#][0-9]{1,4}"
_NAMED_REF = re.compile(
    rf"\b(?:the )?{_NOUN} ?(?:number ?|no\. ?)?[(\[]?"
    rf"(?:(?P<number>[0-9]{{1,4}}){_AFTER_NUMBER}|(?P<word>{'|'.join(_NUMBER_WORDS)})"
    r"(?=[)\]]? ?(?:$|[.,;:!]|\b(?:is|because|since|as|over)\b)))",
    re.MULTILINE,
)
_BARE_REF = re.compile(rf"(?<![\w@.,/$%\u2013\u2014-])([0-9]{{1,4}}){_AFTER_NUMBER}")
_MARKUP = re.compile(r"[*_`\"#\\\u201c\u201d]|'(?=[0-9])|(?<=[0-9])'|<[a-z/]{1,12}>")

# Formats for programs: JSON keys, tags and boxes.
_KEY = re.compile(r'"([A-Za-z_ ]{1,30})"\s{0,9}:')
_REASON_KEYS = {
    *("reason", "reasons", "reasoning", "explanation", "why", "justification", "rationale"),
    *("analysis", "thought", "thoughts"),
}
_PICK_KEYS = "best|best_response|best_answer|choice|selected|selected_response|pick|winner"
_NUMBER_KEYS = f"{_PICK_KEYS}|number|response|answer|option|response_number"
_KEYED_NUMBER = rf'"(?:%s)"\s{{0,9}}:\s{{0,9}}"?(?:{_NOUN} )?([0-9]{{1,4}})"?(?=\s{{0,9}}[,}}\]])'
_PICK_BY_KEY = re.compile(_KEYED_NUMBER % _PICK_KEYS, re.IGNORECASE)
_NUMBER_BY_KEY = re.compile(_KEYED_NUMBER % _NUMBER_KEYS, re.IGNORECASE)
_TAGGED_NUMBER = re.compile(
    rf"(?:<answer>\s{{0,9}}(?:{_NOUN} )?|\\boxed\{{)([0-9]{{1,4}})(?:\s{{0,9}}</answer>|\}})",
    re.IGNORECASE,
)

_ENUMERATED = rf"{_REF}(?! (?!because\b|since\b|as\b|but\b|so\b|and\b|or\b)[a-z])"  # without a verb
_BREAK = re.compile(  # between clauses; the group matches ends of sentences
    r"([.!?;]{1,4}(?=\s|$)|\n)|(?<![0-9]): |[()\[\]{}]| [\u2013\u2014-] "
    r"|,? (?=(?:but|because|since|though|although|while|whereas|yet|so|which)\b)"
    rf"|,? (?=as (?:it|this|that|they|{_REF})\b)|,? (?=and (?!{_ENUMERATED}))"
    rf"|, (?!{_ENUMERATED}|and\b|or\b)"
)
_NO_NEGATION = re.compile(
    rf"^(?:no|wait|sorry),? (?={_REF}$)"
    r"|\b(?:(?:no|without(?: a| any)?) (?:doubt|question)(?: that)?|not (?:only|just))\b ?"
)
_NEGATION = re.compile(
    r"\b(?:not|no|neither|none|nothing|never|nor|cannot|without|hardly|except|unless|but {_REF})\b"
    r"|n't\b"
)
_FAULT = re.compile(
    r"\b(?:wrong|incorrect|worse|worst|inferior|bad|poor|useless|flawed|unacceptable|weaker|weakest"
    r"|(?:reject|dismiss|discard|exclude|eliminate|rule out|avoid|drop|ignore)(?=(?: the)? [@#]))\b"
)
_CHOOSE = (
    "(?:choose|chose|chosen|choosing|pick|picked|picking|select|selected|selecting|go with"
    "|going with|vote for|voted for|prefer|recommend)"
)
_PRAISE = re.compile(
    rf"\b(?:better|best|superior|stronger|strongest|preferable|winner|wins|meant|actually|correction"
    rf"|right one|correct one|{_CHOOSE})\b"
)
_ITSELF = re.compile(  # subject of a clause about the response before
    "(?:(?:but|and|yet|so|because|since|as|for|though|although|while|which) )?"
    "(?:(?:this|that|the) (?:one|response|answer)|it|this|that)?(?: |'s |$)?"
    "(?:is |was |seems |looks |gives |makes |contains |has |gets it |does ?)?"
    "(?:(?:an?|the|still|also|just|very|quite|too|so|[a-z]{1,12}ly) ){0,3}"
)
_GAP = re.compile(  # predicates in a list of faults
    r"(?:lacks?|lacking|miss(?:es|ing)?|fail(?:s|ed)?|omits|ignores|incomplete|vague|short|long"
    r"|misleading|irrelevant|partly|unsafe|untrue|less|no|not(?! [@#])|never"
    r"|(?:contains )?(?:(?:an|a|some|many|factual) ){0,2}(?:errors?|mistakes?|hallucinat[a-z]{1,9})"
    r")\b"
)
_GRADE = re.compile("(?:very |quite |mostly )?(?:good|fine|okay|ok|right|correct|true|yes|great)")

_SURE = "(?:clearly|definitely|certainly|obviously|simply|easily|really|also|still|overall|by far)"
_INTRO = (
    "(?:(?:so|thus|therefore|hence|and|but|then|yes|overall|clearly|finally) )?"
    "(?:(?:i|we)(?:'d| would| must)? (?:think|believe|find|feel|say|conclude)(?: that)? )?"
)
_WHOLE = (  # continuations of "best"
    rf"(?: (?:overall|here|by far|one|{_NOUN}"
    r"|(?:of|among) (?:all|both|them|these|those|the (?:two|three|lot|responses|answers))))"
)
_REFS = rf"{_REF}(?:(?:,? and |,? or |, ){_REF}){{0,8}}"
_OTHERS = rf"(?:(?:all |both |all of |both of |either of )?the )?(?:others?|rest)(?: {_NOUN}s?)?"
_PICK = re.compile(
    rf"{_INTRO}(?:"
    "(?:(?:i|we)(?:'d|'ll|'ve|'m| would| will| have| must| do| am)?"
    rf"(?: (?:{_SURE}|rather|therefore|thus|like to|want to|have to)){{0,2}} )?"
    rf"{_CHOOSE}(?: is)? (?P<chosen>{_REF})"
    rf"(?: (?:as|to be) (?:the|my) (?:best|answer|choice|winner|pick){_WHOLE}?"
    rf"| (?:over|to|rather than|instead of) (?:{_OTHERS}|{_REFS})| here| overall)?"
    "|(?:(?:my|the) )?(?:(?:final|best|top|right|correct|better|preferred|strongest) )?"
    rf"(?:best|winner|choice|pick|selection|selected|chosen|vote|{_NOUN}){_WHOLE}{{0,2}}"
    rf"(?: (?:is|goes to|would be)){{1,2}} (?P<named>{_REF})"
    rf"|(?P<praised>{_REF}) (?:wins|(?:is|was|seems|looks|remains|would be)(?: {_SURE}){{0,2}} (?:"
    rf"(?:the )?(?:{_SURE} )?(?:best|strongest|winner){_WHOLE}{{0,2}}"
    "|my (?:choice|pick|answer|favou?rite|vote)"
    rf"|the (?:right|correct|better|winning) (?:{_NOUN}|one)"
    rf"|(?:much )?(?:better|stronger) than {_OTHERS})))"
)
_NAME_ALONE = re.compile(rf"{_INTRO}(@[0-9]{{1,4}})")
_BETTER_THAN = re.compile(
    rf"{_INTRO}(?P<number>{_REF}) (?:is|was|seems)(?: {_SURE}| much)? (?:better|stronger) than"
    rf"(?: both| either)? (?P<others>{_REFS})"
)
_LEAD = re.compile(  # a number at the beginning: alone on its line, of a list, before a reason
    rf"\s{{0,8}}(?P<number>{_REF})"
    r"(?:(?P<alone>[.:;!)]{0,3} ?(?:$|\n))|[.;!)]{1,3} |(?P<colon>:) "
    r"|,? (?=(?:because|since|as (?:it|this|that|the|@[0-9]+|#[0-9]+)|(?:and )?not [@#][0-9]+)\b)"
    r"| (?=[\u2013\u2014-] |\())\s{0,8}(?:[\u2013\u2014-] |\()?"
)
_ITEM = re.compile(  # next number of a list: in a line, or at the start of a sentence
    r"(?:^|[.;,!?] |\s(?=[@#][0-9]{1,4}[:)]))(?P<number>[@#][0-9]{1,4})"
    r"(?:[).:]{1,3}(?=\s|$)| [\u2013\u2014-] | ?$| \()",
    re.MULTILINE,
)
_FURTHER = re.compile(r"(?:(?:and|or|to|&|/|,) ?)?[@#]?(?P<number>[0-9]+)")
_COMPARED = re.compile(r"\b(?:than|over|to|instead of|unlike|compared)\b")
_DENIAL = re.compile(
    r"(?:(?:is|was|does|do)n't|not|no|never)(?: [a-z]{1,12}){0,3}"
    r" (?:best|better|right|correct|good|answer)\b"
)
_CONDITION = re.compile(r"\b(?:if|unless|suppose|were|could|might|almost)\b")
_LEADING_IN = re.compile(  # introductions of a selection in its sentence
    r"(?:in (?:my|conclusion|summary|short|the end|general|this case)|after|based|considering|given"
    r"|of|among|between|overall|therefore|thus|hence|so|clearly|finally|yes|sure|well|ok|okay"
    r"|explanation|reasoning|reason|verdict|conclusion|decision|analysis|final|my)\b"
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
    told = _name_marked_numbers(text)
    if _NUMBER_BY_KEY.search(told):  # with other keys it may be a score or a list
        return None
    plain = _normalize(told)
    lead = _LEAD.match(plain)
    if not lead:
        return _Reading(count).read(plain).number
    number, rest = _number_of(lead["number"]), plain[lead.end() :]
    if not lead["alone"]:
        behind = _skip_copy(rest, number, responses)
        if behind is None or (behind == rest and (lead["colon"] or _finds_gap(rest, number))):
            return None
        rest = behind
    listed = {ref for ref in _find_items(rest) if not lead["alone"] or ref[0] == "#"}
    if any(0 < _number_of(ref) <= count and _number_of(ref) != number for ref in listed):
        return None
    return _Reading(count, number).read(rest).number


def _name_marked_numbers(text: str) -> str:
    """Replace a number in tags or under a JSON key for it by a sentence."""
    keys = {key.lower() for key in _KEY.findall(text)} - _REASON_KEYS
    pattern = _NUMBER_BY_KEY if len(keys) == 1 else _PICK_BY_KEY
    return _TAGGED_NUMBER.sub(r"\nbest is \1\n", pattern.sub(r"\nbest is \1\n", text))


def _normalize(text: str) -> str:
    """Convert a text to lower case without markup, with its numbers as references."""
    text = _MARKUP.sub("", text.replace("\u2019", "'")).lower()
    text = re.sub(r"[^\S\n]+", " ", text)
    text = re.sub(r"[(\[]([0-9]{1,4})[)\]]", r"\1)", text)
    text = _NAMED_REF.sub(_to_ref, text)
    text = _BARE_REF.sub(r"#\1", text)
    return re.sub(rf":\s{{1,9}}(?={_REF} {{0,4}}(?:[.,;!)\n]|$))", " is ", text).strip()


def _to_ref(match: re.Match[str]) -> str:
    return f"@{match['number'] or _NUMBER_WORDS.index(match['word']) + 1}"


def _number_of(ref: str) -> int:
    return int(ref[1:])


def _skip_copy(rest: str, number: int, responses: Sequence[str]) -> str | None:
    """Remove the text of the selected response from a reply; `None` if it repeats another."""
    texts = [_normalize(each) for each in responses]
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


def _finds_gap(rest: str, number: int) -> bool:
    """Return whether the text after a number is a fault, as in a list of faults."""
    clause = _BREAK.split(rest, maxsplit=1)[0].strip()
    predicate = clause[_end_of_subject(clause) :]
    found = any(each.match(predicate) for each in (_GAP, _FAULT, _DENIAL))
    further = _FURTHER.match(rest)
    return found or bool(_GRADE.fullmatch(clause) or (further and further["number"] != str(number)))


def _end_of_subject(clause: str) -> int:
    match = _ITSELF.match(clause)
    return match.end() if match else 0


def _find_items(rest: str) -> Iterator[str]:
    return (match["number"] for match in _ITEM.finditer(rest))


def _split_sentences(text: str) -> Iterator[tuple[Sequence[str], bool]]:
    """Return the clauses of each sentence, and whether it is a statement of the writer."""
    parts = _BREAK.split(text)
    clauses = list[str]()
    for clause, end in zip(parts[::2], [*parts[1::2], "\n"], strict=True):
        clauses.append(clause.strip(" .,"))
        if end:
            is_statement = "?" not in end and not any(map(_CONDITION.search, clauses))
            yield [each for each in clauses if each], is_statement
            clauses = []


class _Reading:
    """Selections and judgements in the clauses of a reply."""

    def __init__(self, count: int, lead: int | None = None) -> None:
        self._all = set(range(1, count + 1))
        self._current = lead  # last named response
        self._picked = set[int]() if lead is None else {lead}
        self._named_alone, self._praised, self._faulted = set[int](), set[int](), set[int]()
        self._finds_fault = False

    @property
    def number(self) -> int | None:
        """The number of the selected response; `None` if the selection is ambiguous."""
        picked = self._picked or (set() if self._finds_fault else self._named_alone)
        others = (self._praised | self._named_alone) - self._faulted - picked
        return None if others or picked & self._faulted or len(picked) != 1 else min(picked)

    def read(self, text: str) -> Self:
        """Process a text."""
        for clauses, is_statement in _split_sentences(text):
            may_pick = is_statement
            for clause in clauses:
                self._read_refs(clause)
                if may_pick:
                    self._read_pick(clause, is_sentence=len(clauses) == 1)
                may_pick = may_pick and bool(re.search(_REF, clause) or _LEADING_IN.match(clause))
        return self

    def _read_pick(self, clause: str, *, is_sentence: bool) -> None:
        """Record the response that a clause selects, if any."""
        if is_sentence and (match := _NAME_ALONE.fullmatch(clause)):
            self._named_alone.add(_number_of(match[1]))
        elif match := _PICK.fullmatch(clause):
            self._picked.add(_number_of(match["chosen"] or match["named"] or match["praised"]))
        elif match := _BETTER_THAN.fullmatch(clause):
            number = _number_of(match["number"])
            others = set(map(_number_of, re.findall(_REF, match["others"])))
            if others == self._all - {number}:
                self._picked.add(number)

    def _read_refs(self, clause: str) -> None:
        """Record the responses that a clause praises or criticizes."""
        clause = _NO_NEGATION.sub("", clause)
        is_denied, is_faulty = bool(_NEGATION.search(clause)), bool(_FAULT.search(clause))
        self._finds_fault |= is_denied or is_faulty
        refs = list(map(_number_of, re.findall(_REF, clause)))
        if not refs:
            self._read_predicate(clause)
            return
        self._current = refs[0]
        compared = _COMPARED.split(clause, maxsplit=1)[0]
        praised = set(map(_number_of, re.findall(_REF, compared)))
        if not praised:  # "worse than 2"
            self._praised |= {refs[0]} if is_denied or is_faulty else set()
        elif is_denied != is_faulty:
            self._faulted.add(refs[0])
        elif not is_denied and (_PRAISE.search(clause) or re.fullmatch(_REF, clause)):
            self._praised |= praised

    def _read_predicate(self, clause: str) -> None:
        """Record what a clause says about the response named before."""
        predicate = clause[_end_of_subject(clause) :]
        if not self._current:
            return
        if _FAULT.match(predicate) or _DENIAL.match(predicate):
            self._faulted.add(self._current)
        elif _PRAISE.match(predicate):
            self._praised.add(self._current)
