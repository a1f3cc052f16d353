"""Remove reasoning between tags from the text of an answer.

`strip_thoughts` processes a whole text, `ThoughtFilter` a stream. Both read each character once.
"""

import re

from moa_graph.prompting.surrogates import replace_surrogates

_LEADING_TAGS = {  # only at the start: elsewhere they may belong to the answer
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
_BARE_START, _BARE_END = "analysis", "assistantfinal"  # Harmony on servers that drop its tokens
_FINAL_CHANNEL = "<|channel|>final<|message|>"
_ANSWER_STARTS = (
    *("<|start|>assistant", _FINAL_CHANNEL),
    *("<|start_response|>", "<|begin_of_solution|>"),
)
_ANSWER_ENDS = ("<|return|>", "<|end|>", "<|end_response|>", "<|end_of_solution|>")

_ENDS = {**_LEADING_TAGS, **_TAGS, _BARE_START: _BARE_END}  # end marks by start mark
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
    """Remove reasoning and surrounding white space from a text.

    If the start tag is missing, the chat template has put it into the prompt. If the end tag is
    missing, the answer ended before it began. Tags in back quotes are text.
    """
    if not _MAY_HAVE_MARKS.search(text):
        return replace_surrogates(text).strip()
    thought_filter = ThoughtFilter()
    parts = [thought_filter.feed(text), thought_filter.finish()]
    return "".join(parts)[thought_filter.missed_chars :].strip()


def split_thoughts(text: str) -> tuple[str, str]:
    """Split a text into its reasoning and the result of `strip_thoughts`.

    Returns:
        The reasoning and the rest, without surrounding white space.
    """
    if not _MAY_HAVE_MARKS.search(text):
        return "", replace_surrogates(text).strip()
    thoughts = list[str]()
    thought_filter = ThoughtFilter(thoughts=thoughts)
    shown = "".join([thought_filter.feed(text), thought_filter.finish()])
    missed = thought_filter.missed_chars
    parts = [each.strip() for each in (shown[:missed], *thoughts)]
    return "\n\n".join(filter(None, parts)), shown[missed:].strip()


def has_unopened_thought(text: str) -> bool:
    """Return whether a text begins with reasoning whose start tag is in the prompt."""
    if not _MAY_HAVE_MARKS.search(text):
        return False
    thought_filter = ThoughtFilter()
    thought_filter.feed(text)
    thought_filter.finish()
    return thought_filter.was_opened_in_prompt


class ThoughtFilter:
    """Removes reasoning from a stream, and joins surrogate pairs.

    Reasoning whose start tag is in the prompt is only recognized at its end tag.

    Args:
        starts_in_thought: Whether earlier answers began with reasoning without a start tag:
            nothing is emitted before its end tag or the end of the stream.
        thoughts: Receives each completed reasoning; by default it is dropped.
    """

    def __init__(
        self, *, starts_in_thought: bool = False, thoughts: list[str] | None = None
    ) -> None:
        self._thoughts, self._thought_parts = thoughts, list[str]()
        self.missed_chars = 0
        """Characters that were emitted before they were recognized as reasoning."""
        self._shown_chars = 0
        self._before = ""  # whether the text so far ends with a back quote
        self._pending = ""  # undecided text: a possible start of a mark, or half a surrogate pair
        self._held = list[str]()  # text to emit if it is not reasoning
        # End mark of the current reasoning.
        self._end: str | None = _TAGS["<think>"] if starts_in_thought else None
        self._shows_unended = self._started_in_thought = (
            starts_in_thought  # whether held text is emitted if there is no end mark
        )
        self._in_answer = self._had_thought = False

    @property
    def was_opened_in_prompt(self) -> bool:
        """Whether the text began with reasoning without a start tag."""
        return bool(self.missed_chars or (self._started_in_thought and self._had_thought))

    def expect_answer(self) -> None:
        """Record that reasoning arrives separately, so the text does not begin with it."""
        if self._started_in_thought and not self._had_thought:
            self._started_in_thought, self._end = False, None

    def feed(self, text: str) -> str:
        """Process a piece of text, and return the text to emit now."""
        text = self._pending + text
        half = text[-1:] if "\ud800" <= text[-1:] <= "\udbff" else ""
        shown, rest = self._advance_to_mark(text[: len(text) - len(half)], is_last=False)
        self._pending = rest + half
        return shown

    def finish(self) -> str:
        """Return the remaining text to emit at the end of the stream."""
        shown, rest = self._advance_to_mark(self._pending, is_last=True)
        is_thought = self._end and not self._shows_unended  # there is no answer
        return shown if is_thought else "".join([shown, *self._held, rest])

    def _advance_to_mark(self, text: str, *, is_last: bool) -> tuple[str, str]:
        """Process text up to a mark; return the text to emit and the undecided text."""
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
        """Process reasoning up to its end mark, or as far as can be decided."""
        assert self._end  # noqa: S101
        if not (match := _END[self._end].search(text, position)):
            known = max(position, len(text) - len(self._end) + 1)
            self._collect(text[position:known], ended=False)
            if self._shows_unended:
                self._held.append(text[position:known])
            return known, False
        self._held.clear()
        self._collect(text[position : match.start()], ended=True)
        self._end, self._had_thought = None, True
        return match.end(), True

    def _collect(self, part: str, *, ended: bool) -> None:
        """Pass completed reasoning to its receiver, if there is one."""
        if self._thoughts is None:
            return
        self._thought_parts.append(part)
        if ended:
            self._thoughts.append("".join(self._thought_parts))
            self._thought_parts.clear()

    def _read_start(
        self, text: str, position: int, shown: list[str], *, is_last: bool
    ) -> tuple[int, bool]:
        """Process text before an answer, up to a start mark or the answer itself."""
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
        """Process an answer up to the next mark, or as far as can be decided."""
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
    """Return the position at which a mark may begin at the end of a text, or its length."""
    for match in _MARK_BEGINNING.finditer(text, max(position, len(text) - _MAX_MARK_CHARS)):
        end = text[match.start() :].lower()
        if any(mark.startswith(end) for mark in _MARKS):
            return match.start()
    return len(text)
