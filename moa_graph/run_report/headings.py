"""Shift the headings of a text below those of the page, without gaps between levels."""

import re

from moa_graph.markdown import HEADING_TAG

FIRST, LAST = 4, 6
"""Levels of headings in a text."""


def lower_headings(html: str) -> str:
    """Lower the levels of a text's headings to `FIRST` and below, without gaps.

    Args:
        html: A rendered text, in which each `<` begins a tag.
    """
    ranks = {level: n for n, level in enumerate(sorted({m[2] for m in HEADING_TAG.finditer(html)}))}
    last = FIRST - 1

    def lower(match: re.Match[str]) -> str:
        nonlocal last
        if not match[1]:
            last = min(FIRST + ranks[match[2]], last + 1, LAST)
        return f"<{match[1]}h{last}"

    return HEADING_TAG.sub(lower, html)
