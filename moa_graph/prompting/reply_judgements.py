"""Which responses a reply selects, praises or criticizes, clause by clause."""

import re
from collections.abc import Iterator, Sequence
from typing import Self

from moa_graph.prompting.reply_references import NOUN, REF, ref_number

_ENUMERATED = rf"{REF}(?! (?!because\b|since\b|as\b|but\b|so\b|and\b|or\b)[a-z])"  # without a verb
_BREAK = re.compile(  # between clauses; the group matches ends of sentences
    r"([.!?;]{1,4}(?=\s|$)|\n)|(?<![0-9]): |[()\[\]{}]| [\u2013\u2014-] "
    r"|,? (?=(?:but|because|since|though|although|while|whereas|yet|so|which)\b)"
    rf"|,? (?=as (?:it|this|that|they|{REF})\b)|,? (?=and (?!{_ENUMERATED}))"
    rf"|, (?!{_ENUMERATED}|and\b|or\b)"
)
_NO_NEGATION = re.compile(
    rf"^(?:no|wait|sorry),? (?={REF}$)"
    r"|\b(?:(?:no|without(?: a| any)?) (?:doubt|question)(?: that)?|not (?:only|just))\b ?"
)
_NEGATION = re.compile(
    r"\b(?:not|no|neither|none|nothing|never|nor|cannot|without|hardly|except|unless|but {REF})\b"
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
    rf"(?: (?:overall|here|by far|one|{NOUN}"
    r"|(?:of|among) (?:all|both|them|these|those|the (?:two|three|lot|responses|answers))))"
)
_REFS = rf"{REF}(?:(?:,? and |,? or |, ){REF}){{0,8}}"
_OTHERS = rf"(?:(?:all |both |all of |both of |either of )?the )?(?:others?|rest)(?: {NOUN}s?)?"
_PICK = re.compile(
    rf"{_INTRO}(?:"
    "(?:(?:i|we)(?:'d|'ll|'ve|'m| would| will| have| must| do| am)?"
    rf"(?: (?:{_SURE}|rather|therefore|thus|like to|want to|have to)){{0,2}} )?"
    rf"{_CHOOSE}(?: is)? (?P<chosen>{REF})"
    rf"(?: (?:as|to be) (?:the|my) (?:best|answer|choice|winner|pick){_WHOLE}?"
    rf"| (?:over|to|rather than|instead of) (?:{_OTHERS}|{_REFS})| here| overall)?"
    "|(?:(?:my|the) )?(?:(?:final|best|top|right|correct|better|preferred|strongest) )?"
    rf"(?:best|winner|choice|pick|selection|selected|chosen|vote|{NOUN}){_WHOLE}{{0,2}}"
    rf"(?: (?:is|goes to|would be)){{1,2}} (?P<named>{REF})"
    rf"|(?P<praised>{REF}) (?:wins|(?:is|was|seems|looks|remains|would be)(?: {_SURE}){{0,2}} (?:"
    rf"(?:the )?(?:{_SURE} )?(?:best|strongest|winner){_WHOLE}{{0,2}}"
    "|my (?:choice|pick|answer|favou?rite|vote)"
    rf"|the (?:right|correct|better|winning) (?:{NOUN}|one)"
    rf"|(?:much )?(?:better|stronger) than {_OTHERS})))"
)
_NAME_ALONE = re.compile(rf"{_INTRO}(@[0-9]{{1,4}})")
_BETTER_THAN = re.compile(
    rf"{_INTRO}(?P<number>{REF}) (?:is|was|seems)(?: {_SURE}| much)? (?:better|stronger) than"
    rf"(?: both| either)? (?P<others>{_REFS})"
)
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
_FURTHER = re.compile(r"(?:(?:and|or|to|&|/|,) ?)?[@#]?(?P<number>[0-9]+)")


class ReplyJudgements:
    """Selections and judgements in the clauses of a reply."""

    def __init__(self, count: int, lead: int | None = None) -> None:
        self._all = set(range(1, count + 1))
        self._current = lead  # last named response
        self._selected = set[int]() if lead is None else {lead}
        self._named_alone, self._praised, self._criticized = set[int](), set[int](), set[int]()
        self._has_criticism = False

    @property
    def number(self) -> int | None:
        """The number of the selected response; `None` if the selection is ambiguous."""
        selected = self._selected or (set() if self._has_criticism else self._named_alone)
        others = (self._praised | self._named_alone) - self._criticized - selected
        is_clear = len(selected) == 1 and not others and not selected & self._criticized
        return min(selected) if is_clear else None

    def read(self, text: str) -> Self:
        """Process a text."""
        for clauses, is_statement in _split_sentences(text):
            may_pick = is_statement
            for clause in clauses:
                self._read_refs(clause)
                if may_pick:
                    self._read_pick(clause, is_sentence=len(clauses) == 1)
                may_pick = may_pick and bool(re.search(REF, clause) or _LEADING_IN.match(clause))
        return self

    def _read_pick(self, clause: str, *, is_sentence: bool) -> None:
        """Record the response that a clause selects, if any."""
        if is_sentence and (match := _NAME_ALONE.fullmatch(clause)):
            self._named_alone.add(ref_number(match[1]))
        elif match := _PICK.fullmatch(clause):
            self._selected.add(ref_number(match["chosen"] or match["named"] or match["praised"]))
        elif match := _BETTER_THAN.fullmatch(clause):
            number = ref_number(match["number"])
            others = set(map(ref_number, re.findall(REF, match["others"])))
            if others == self._all - {number}:
                self._selected.add(number)

    def _read_refs(self, clause: str) -> None:
        """Record the responses that a clause praises or criticizes."""
        clause = _NO_NEGATION.sub("", clause)
        is_denied, is_faulty = bool(_NEGATION.search(clause)), bool(_FAULT.search(clause))
        self._has_criticism |= is_denied or is_faulty
        refs = list(map(ref_number, re.findall(REF, clause)))
        if not refs:
            self._read_predicate(clause)
            return
        self._current = refs[0]
        compared = _COMPARED.split(clause, maxsplit=1)[0]
        praised = set(map(ref_number, re.findall(REF, compared)))
        if not praised:  # "worse than 2"
            self._praised |= {refs[0]} if is_denied or is_faulty else set()
        elif is_denied != is_faulty:
            self._criticized.add(refs[0])
        elif not is_denied and (_PRAISE.search(clause) or re.fullmatch(REF, clause)):
            self._praised |= praised

    def _read_predicate(self, clause: str) -> None:
        """Record what a clause says about the response named before."""
        predicate = clause[_end_of_subject(clause) :]
        if not self._current:
            return
        if _FAULT.match(predicate) or _DENIAL.match(predicate):
            self._criticized.add(self._current)
        elif _PRAISE.match(predicate):
            self._praised.add(self._current)


def begins_with_fault(rest: str, number: int) -> bool:
    """Return whether the text after a number is a fault, as in a list of faults."""
    clause = _BREAK.split(rest, maxsplit=1)[0].strip()
    predicate = clause[_end_of_subject(clause) :]
    is_fault = any(each.match(predicate) for each in (_GAP, _FAULT, _DENIAL))
    further = _FURTHER.match(rest)
    is_other = further is not None and further["number"] != str(number)
    return is_fault or is_other or bool(_GRADE.fullmatch(clause))


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


def _end_of_subject(clause: str) -> int:
    match = _ITSELF.match(clause)
    return match.end() if match else 0
