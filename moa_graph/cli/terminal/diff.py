"""Word diff of a proposal and the answer."""

from collections.abc import Sequence

from rich.text import Text

from moa_graph.run_report.word_diff import ChangeKind, WordChanges

CHANGE_STYLES = {"kept": "", "left out": "red strike", "added": "green"}
CHANGE_MARKS = {"kept": ("", ""), "left out": ("[-", "-]"), "added": ("{+", "+}")}


class WordDiff:
    """Word diff of two texts."""

    def __init__(self, old: str, new: str) -> None:
        compared = WordChanges(old, new)
        self.changes: list[tuple[ChangeKind, str]] = [
            (kind, _join_words(words)) for kind, words in compared.parts
        ]
        """Parts of both texts, in order; white space after a word belongs to it."""
        self.is_complete = compared.is_complete
        """Whether the texts were compared completely."""
        self._new_word_count = len(new.split())

    @property
    def kept_share(self) -> float:
        """Share of the words of `new` that are in `old`, in the order and runs of the diff."""
        kept_words = sum(len(words.split()) for kind, words in self.changes if kind == "kept")
        return kept_words / max(1, self._new_word_count)

    @property
    def text(self) -> Text:
        """Both texts, with `[-removed-]` and `{+added+}` words."""
        text = Text()
        for kind, words in self.changes:
            before, after = CHANGE_MARKS[kind]
            inner = words.strip() if kind != "kept" else words
            space = words[len(words.rstrip()) :] if kind != "kept" else ""
            text.append(f"{before}{inner}{after}", CHANGE_STYLES[kind]).append(space or "")
        text.rstrip()
        return text


def _join_words(words: Sequence[str]) -> str:
    text = "".join(words)
    return text if text[-1].isspace() else f"{text} "
