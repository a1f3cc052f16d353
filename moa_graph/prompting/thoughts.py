"""What reasoning models think in the text of an answer, in the forms that present models use.

`strip_thoughts` reads a whole text, `ThoughtFilter` one that comes in pieces. Both read it once,
from its beginning to its end.
"""

import re

from moa_graph.prompting.surrogates import replace_surrogates

_LEADING_TAGS = {  # elsewhere, these may be a part of an answer
    "<thinking>": "</thinking>",
    "<thought>": "</thought>",  # EXAONE
    "<thoughts>": "</thoughts>",
    "<reasoning>": "</reasoning>",
}
_TAGS = {
    "<think>": "</think>",  # DeepSeek, Qwen, GLM, MiniMax, Hunyuan, Phi, Nemotron
    "<seed:think>": "</seed:think>",
    "[think]": "[/think]",  # Magistral
    "\u25c1think\u25b7": "\u25c1/think\u25b7",  # Kimi
    "<|channel>thought": "<channel|>",  # Gemma 4
    "<|start_thinking|>": "<|end_thinking|>",  # Command A
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|inner_prefix|>": "<|inner_suffix|>",  # Apertus
    "<|channel|>analysis<|message|>": "<|end|>",  # gpt-oss (Harmony)
    "<|channel|>commentary<|message|>": "<|end|>",
}
_BARE_START, _BARE_END = "analysis", "assistantfinal"  # Harmony, of servers that drop its tokens
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_ANSWER_STARTS = (
    *("<|start|>assistant", _FINAL_CHANNEL),
    *("<|start_response|>", "<|begin_of_solution|>"),
)
_ANSWER_ENDS = ("<|return|>", "<|end|>", "<|end_response|>", "<|end_of_solution|>")

_ENDS = {**_LEADING_TAGS, **_TAGS, _BARE_START: _BARE_END}  # by how the thought begins
_LONE_ENDS = {*_TAGS.values(), _FINAL_CHANNEL} - {"<|end|>"}
_MARKS = (*_TAGS, *_LONE_ENDS, *_ANSWER_STARTS, *_ANSWER_ENDS)
_STARTS = (*_ENDS, *_ANSWER_STARTS)
_MAX_MARK_CHARS = max(map(len, (*_MARKS, *_STARTS)))


def _any_of(marks: tuple[str, ...]) -> str:
    return "|".join(map(re.escape, sorted({*marks}, key=len, reverse=True)))


_START = re.compile(
    rf"(?P<mark>{_any_of((*_LEADING_TAGS, *_TAGS, *_ANSWER_STARTS))}"
    rf"|(?-i:{_BARE_START})(?=(?-i:[A-Z])))",
    re.IGNORECASE,
)
_MARK = re.compile(rf"(?<!`)(?P<mark>{_any_of(_MARKS)})(?!`)", re.IGNORECASE)
_END = {end: re.compile(re.escape(end), re.IGNORECASE) for end in _ENDS.values()}
_MARK_BEGINNING = re.compile("(?<!`)[<\\[\u25c1]")
_MAY_HAVE_MARKS = re.compile(rf"[<\[\u25c1]|^\s*+{_BARE_START}")
_BLANKS = re.compile(r"\s*+")


def strip_thoughts(text: str) -> str:
    """Strip what a reasoning model thinks in its text, and surrounding white space.

    A missing beginning was put into the prompt by the model's chat template; a missing end means
    that the answer ended before it began. Tags in back quotes are mentioned, not used.
    """
    if not _MAY_HAVE_MARKS.search(text):
        return replace_surrogates(text).strip()
    thought_filter = ThoughtFilter()
    parts = [thought_filter.feed(text), thought_filter.finish()]
    return "".join(parts)[thought_filter.missed_chars :].strip()


class ThoughtFilter:
    """Leaves out of a stream what a model thinks, and joins the halves of characters.

    A thought whose beginning is in the prompt is not known as one before it ends.

    Args:
        starts_in_thought: Whether the model began so before: nothing is shown then before the
            thought has ended, or the stream.
    """

    def __init__(self, *, starts_in_thought: bool = False) -> None:
        self.missed_chars = 0
        """Characters that were shown and turned out to be a thought."""
        self._shown_chars = 0
        self._before = ""  # a back quote that stands before what comes
        self._pending = ""  # what cannot be decided yet: the beginning of a mark, or half of one
        self._held = list[str]()  # what is shown if it turns out not to be a thought
        # How the thought ends that is being read.
        self._end: str | None = _TAGS["<think>"] if starts_in_thought else None
        self._shows_unended = self._started_in_thought = (
            starts_in_thought  # whether what is held is shown if it does not
        )
        self._in_answer = self._had_thought = False

    @property
    def was_opened_in_prompt(self) -> bool:
        """Whether the text began with a thought that it does not begin itself."""
        return bool(self.missed_chars or (self._started_in_thought and self._had_thought))

    def expect_answer(self) -> None:
        """Take in that thoughts come apart from the text, which does not begin with one then."""
        if self._started_in_thought and not self._had_thought:
            self._started_in_thought, self._end = False, None

    def feed(self, text: str) -> str:
        """Take in a piece of what the model wrote, and give what of it may be shown now."""
        text = self._pending + text
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        shown, rest = self._advance_to_mark(text[: len(text) - len(half)], is_last=False)
        self._pending = rest + half
        return shown

    def finish(self) -> str:
        """Give what is left to show when the model has ended."""
        shown, rest = self._advance_to_mark(self._pending, is_last=True)
        is_thought = self._end and not self._shows_unended  # the answer ended before it began
        return shown if is_thought else "".join([shown, *self._held, rest])

    def _advance_to_mark(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """Read a text, and give what may be shown of it and what cannot be decided yet."""
        text, position = self._before + replace_surrogates(text), len(self._before)
        shown, is_decided = list[str](), True
        while is_decided:
            if self._end:
                position, is_decided = self._read_thought(text, position)
            elif self._in_answer:
                position, is_decided = self._read_answer(text, position, shown, is_last=is_last)
            else:
                position, is_decided = self._read_start(text, position, shown, is_last=is_last)
        self._before = "`" if text[:position].endswith("`") else ""
        return "".join(shown), text[position:]

    def _read_thought(self, text: str, position: int) -> tuple[int, bool]:
        """Go on in a thought: to its end, or as far as can be said."""
        assert self._end  # noqa: S101
        if not (match := _END[self._end].search(text, position)):
            known = max(position, len(text) - len(self._end) + 1)
            if self._shows_unended:
                self._held.append(text[position:known])
            return known, False
        self._held.clear()
        self._end, self._had_thought = None, True
        return match.end(), True

    def _read_start(
        self, text: str, position: int, shown: list[str], *, is_last: bool
    ) -> tuple[int, bool]:
        """Go on in front of an answer: over what begins a thought, or the answer itself."""
        start = _BLANKS.match(text, position).end()  # type: ignore[union-attr]  # it always matches
        if match := _START.match(text, start):
            self._held.clear()
            self._apply_mark(match["mark"], shown)
            return match.end(), True
        head = text[start : start + _MAX_MARK_CHARS].lower()
        if not is_last and any(each.startswith(head) for each in _STARTS):
            self._held.append(text[position:start])
            return start, False
        blanks = [] if self._had_thought else [*self._held, text[position:start]]
        self._held.clear()
        self._show_text("".join(blanks), shown)
        return self._read_answer(text, start, shown, is_last=is_last)

    def _read_answer(
        self, text: str, position: int, shown: list[str], *, is_last: bool
    ) -> tuple[int, bool]:
        """Go on in an answer: to the next mark, or as far as can be said."""
        match = _MARK.search(text, position)
        if match and (is_last or match.end() < len(text)):
            self._show_text(text[position : match.start()], shown)
            self._apply_mark(match["mark"], shown)
            return match.end(), True
        known = len(text) if is_last else _find_mark_beginning(text, position)
        self._show_text(text[position:known], shown)
        return known, False

    def _apply_mark(self, mark: str, shown: list[str]) -> None:
        name = mark.lower()
        if name in _ENDS:
            self._end, self._shows_unended = _ENDS[name], self._in_answer or name == _BARE_START
            self._held = [mark]
        elif name in _LONE_ENDS:
            self.missed_chars, self._in_answer, self._had_thought = self._shown_chars, False, True
        elif name == _ANSWER_STARTS[0] and not self._in_answer:
            pass
        elif not self._had_thought and self._in_answer:
            self._show_text(mark, shown)
        else:
            self._had_thought = True

    def _show_text(self, text: str, shown: list[str]) -> None:
        self._in_answer = self._in_answer or not (text.isspace() or not text)
        self._shown_chars += len(text)
        shown.append(text)


def _find_mark_beginning(text: str, position: int) -> int:
    """Find where the end of a text may be the beginning of a mark; its length if nowhere."""
    for match in _MARK_BEGINNING.finditer(text, max(position, len(text) - _MAX_MARK_CHARS)):
        end = text[match.start() :].lower()
        if any(mark.startswith(end) for mark in _MARKS):
            return match.start()
    return len(text)
