"""Extract the final answer of a text, in linear time."""

import re

_MARKERS = (
    "####",
    r"\banswers?\s?(?:is|are|:|=)\s?:?",
    r"(?:\u7b54\u6848|\u7b54\u3048|\ub2f5)\s?(?:\u662f|\u4e3a|\u70ba|\u306f|\uc740|:|\uff1a)",
    r"\brespuesta\s?(?:es|:)\s?:?",
    r"\br\u00e9ponse\s?(?:est|:)\s?:?",
    r"\bantwort\s?(?:ist|lautet|:)\s?:?",
    r"\b\u043e\u0442\u0432\u0435\u0442\s?(?:\u2014|:)",  # Russian
)
_MARKER = re.compile("|".join(_MARKERS), re.IGNORECASE)
_BOX = re.compile(r"\\(?:boxed|fbox)\s?")
_EMPHASIS = str.maketrans("", "", "*`")
_LATEX_TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf)\{([^{}]{1,80})\}")
FENCE = "```"


def find_final_part(text: str) -> str | None:
    """Return the text in the last box, or after the last `####`, `answer is` or `Answer:`.

    Some other languages have such words too.

    Returns:
        The rest of the line, or the next line with text; `None` without any of these.
    """
    box = _last_match(_BOX, text)
    marker = _last_match(_MARKER, text)
    if box and (marker is None or box.start() > marker.start()):
        return _read_box(text, box.end())
    if marker is None:
        return None
    rest = text[marker.end() :].lstrip(" \t\r\n:\uff1a*")
    return rest.partition("\n")[0].strip() or None


def find_boxed(text: str) -> str | None:
    r"""Return the text in the last `\boxed{}`; `None` if there is none."""
    box = _last_match(_BOX, text)
    return _read_box(text, box.end()) if box else None


def remove_emphasis(text: str) -> str:
    """Remove stars and backticks of Markdown, and commands of LaTeX around words."""
    return _LATEX_TEXT.sub(r"\1", text.translate(_EMPHASIS))


def list_code_blocks(text: str) -> list[tuple[str, str]]:
    """Return the fenced blocks of a text, each with its language."""
    parts = text.split(FENCE)[1::2]
    blocks = list[tuple[str, str]]()
    for part in parts:
        first, line_end, rest = part.partition("\n")
        is_tag = bool(line_end) and len(first) < 20 and " " not in first.strip()  # noqa: PLR2004
        blocks.append((first.strip().lower(), rest) if is_tag else ("", part))
    return blocks


def _last_match(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    last = None
    for last in pattern.finditer(text):  # noqa: B007  # the last one counts
        pass
    return last


def _read_box(text: str, start: int) -> str | None:
    if text[start : start + 1] != "{":  # \boxed 5
        return text[start:].split("$", 1)[0].partition("\n")[0].strip() or None
    depth = 0
    for end in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[end], 0)
        if depth == 0:
            return text[start + 1 : end].strip() or None
    return None
