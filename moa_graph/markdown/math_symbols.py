"""Characters of formulas: operators, and styled letters."""

import unicodedata
from functools import cache

# Arrows and relations that latex2mathml treats as letters.
MATH_OPERATORS = frozenset(
    chr(code)
    for begin, end in ((0x2190, 0x2200), (0x27F0, 0x2800), (0x2900, 0x2980), (0x2A00, 0x2B00))
    for code in range(begin, end)
)

_VARIANTS = {
    "bold": "BOLD",
    "italic": "ITALIC",
    "bold-italic": "BOLD ITALIC",
    "double-struck": "DOUBLE-STRUCK",
    "script": "SCRIPT",
    "fraktur": "FRAKTUR",
    "sans-serif": "SANS-SERIF",
    "sans-serif-italic": "SANS-SERIF ITALIC",
    "monospace": "MONOSPACE",
}
_KINDS = (" CAPITAL ", " SMALL ", " DIGIT ", " NABLA", " PARTIAL")
_EARLIER = {"BLACK-LETTER": "FRAKTUR", "DOUBLE-STRUCK": "DOUBLE-STRUCK", "SCRIPT": "SCRIPT"}


def style_letters(text: str, variant: str) -> str:
    """Replace letters with styled Unicode characters; browsers support `mathvariant` only partly.

    Args:
        text: The letters.
        variant: A value of MathML's attribute `mathvariant`, such as `double-struck`.
    """
    return text.translate(_find_styled_letters().get(_VARIANTS.get(variant, ""), {}))


@cache
def _find_styled_letters() -> dict[str, dict[int, str]]:
    """Return the styled letters of Unicode, keyed by style and plain letter."""
    letters: dict[str, dict[int, str]] = {}
    for code in (*range(0x2100, 0x2150), *range(0x1D400, 0x1D800)):
        name = unicodedata.name(chr(code), "")
        style, _, _ = name.removeprefix("MATHEMATICAL ").partition(
            next(filter(name.__contains__, _KINDS), "\0")
        )
        base = unicodedata.normalize("NFKC", chr(code))
        if len(base) == 1 and (name.startswith("MATHEMATICAL ") or style in _EARLIER):
            letters.setdefault(_EARLIER.get(style, style), {})[ord(base)] = chr(code)
    return letters
