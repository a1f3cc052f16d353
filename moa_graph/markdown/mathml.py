"""Convert TeX to MathML, which browsers render and read out without scripts or fonts.

latex2mathml parses the TeX. Its output may contain attributes and markup from the author of the
text, so this module writes only allowed elements and attributes. latex2mathml is pure Python: too
deep nesting raises an error there, but would crash the process in a library of another language.
"""

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from html import escape
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

from moa_graph.markdown.math_symbols import MATH_OPERATORS, style_letters
from moa_graph.markdown.tex import UnreadableTexError, prepare_tex
from moa_graph.runs.formatting import strip_hidden_characters

MAX_TEX_CHARS = 3000
"""Maximum length of a converted formula; a longer formula remains TeX."""
DEEPEST_ELEMENT = 40
"""Maximum nesting of elements in a converted formula."""
MAX_KEPT = 256
"""Maximum number of cached formulas; a growing answer is rendered repeatedly."""

_ROWS = {"math", "mrow", "mstyle", "mphantom", "mpadded", "mtd", "msqrt"}
_CHILDREN = {
    **dict.fromkeys(("mfrac", "mroot", "msub", "msup", "munder", "mover"), 2),
    **dict.fromkeys(("msubsup", "munderover"), 3),
}
_LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}
_NAMED_LIMITS = re.compile(r"(?:lim|max|min|sup|inf|det|gcd|Pr|arg|inj|proj|plim)\b")
_LARGE_OPERATORS = frozenset(
    "\u2211\u220f\u2210\u22c3\u22c2\u22c1\u22c0\u2a00\u2a01\u2a02\u2a04\u2a06"
)
_ACCENTS = frozenset("\u00b4\u00af\u02d8\u02c7\u02d9\u00a8\u20db\u20dc`^\u02da~\u2192")
_LINE = "\u2015"
_BARS = frozenset("|\u2016")  # around a matrix; other bars have `stretchy="false"`
_ENCLOSURES = {
    "box": "m-box",
    "updiagonalstrike": "m-up",
    "downdiagonalstrike": "m-down",
    "horizontalstrike": "m-strike",
    "updiagonalstrike downdiagonalstrike": "m-up m-down",
}
_TEXT_STYLES = {"bold": "m-bold", "italic": "m-italic", "monospace": "m-mono"}
_ATTRIBUTES = {
    **dict.fromkeys(("stretchy", "fence", "accent", "largeop", "separator"), "true|false"),
    **dict.fromkeys(("displaystyle", "movablelimits"), "true|false"),
    **dict.fromkeys(("minsize", "maxsize"), r"\d\.\d{1,3}em"),
    **dict.fromkeys(("lspace", "rspace"), r"\d(?:\.\d{1,3})?em"),
    "form": "prefix|infix|postfix",
    "scriptlevel": "[0-2]",
    "linethickness": "0",
}
_REFERENCE = re.compile(r"&#x([0-9A-Fa-f]{1,6});")
_LENGTH = re.compile(r"([+-]?\d{0,4}(?:\.\d{1,4})?)\s*(em|ex|pt|pc|mm|cm|in|mu|px)")
_EM = {"em": 1, "ex": 0.45, "pt": 0.083, "pc": 1, "mm": 0.237, "cm": 2.37, "in": 6, "px": 0.0625}
_SPACES = {"thinmathspace": "0.167em", "mediummathspace": "0.222em", "thickmathspace": "0.278em"}
_WIDEST_SPACE = 4  # em
_THIN_SPACE = '<mspace width="0.167em"></mspace>'


@lru_cache(maxsize=MAX_KEPT)
def tex_to_mathml(tex: str, *, is_display: bool) -> str | None:
    """Convert a formula to MathML.

    Args:
        tex: The TeX between the delimiters.
        is_display: Whether it is a block of its own.

    Returns:
        An element `math`; `None` if conversion fails, such as for an unknown command.
    """
    if len(tex) > MAX_TEX_CHARS:
        return None
    try:
        root = convert_to_element(prepare_tex(tex), display="block" if is_display else "inline")
        content = _write_row(root, 0)
    except Exception:  # noqa: BLE001  # untrusted TeX may raise any error
        return None
    style = ' displaystyle="true"' if is_display else ""
    return f"<math{style}>{content}</math>"


def _write_element(element: Element, depth: int) -> str:
    """Write an element and its content."""
    if depth > DEEPEST_ELEMENT:
        raise UnreadableTexError
    if element.tag in _LEAVES:
        return _LEAVES[element.tag](element)
    if element.tag in _CHILDREN:
        return _write_script(element, depth)
    if element.tag == "mtable":
        return _write_table(element, depth)
    if element.tag == "menclose":
        names = _ENCLOSURES[element.get("notation", "")]
        return f'<mrow class="{names}">{_write_row(element, depth)}</mrow>'
    if element.tag not in _ROWS:
        raise UnreadableTexError
    if element.tag == "mrow" and len(element) == 1:
        return _write_element(element[0], depth + 1)
    return _write_tag(element.tag, _write_row(element, depth), _write_attributes(element))


def _write_row(row: Element, depth: int) -> str:
    """Write the elements of a row; spaces surround the name of a function."""
    parts, before = list[str](), None
    for element in _join_letters(row):
        if before is not None and _is_apart(before, element):
            parts.append(_THIN_SPACE)
        parts.append(_write_element(element, depth + 1))
        before = element
    return "".join(parts)


def _join_letters(row: Iterable[Element]) -> Iterable[Element]:
    """Join consecutive upright letters, such as those of a unit, into a word."""
    word: Element | None = None
    for element in row:
        is_letter = element.tag == "mi" and element.get("mathvariant") == "normal"
        if word is not None and is_letter:
            word.text = f"{word.text or ''}{element.text or ''}"
            continue
        if word is not None:
            yield word
        word = None
        if is_letter:
            word = Element("mi", element.attrib)
            word.text = element.text
        else:
            yield element
    if word is not None:
        yield word


def _is_apart(left: Element, right: Element) -> bool:
    if "mo" in {_find_base(right).tag, left.tag} or "mspace" in {left.tag, right.tag}:
        return _is_function(right) and left.tag not in {"mo", "mspace"}
    return _is_function(left) or _is_function(right)


def _is_function(element: Element) -> bool:
    base = _find_base(element)
    text = base.text or ""
    return base.tag in {"mi", "mo"} and _is_name(text) and not base.get("mathvariant")


def _is_name(text: str) -> bool:
    return len(text) > 1 and text.isalpha() and text.isascii()


def _find_base(element: Element) -> Element:
    """Return the base of an element with scripts."""
    while element.tag in _LIMITS and len(element):
        element = element[0]
    return element


def _write_identifier(element: Element) -> str:
    text = _read_text(element)
    if text.startswith("\\") or element.text in {"{", "}", "&"}:
        raise UnreadableTexError
    if len(text) == 1 and text in MATH_OPERATORS:
        return _write_tag("mo", text)
    variant = element.get("mathvariant", "")
    if variant == "normal" and len(text) == 1:
        return _write_tag("mi", escape(text), ['mathvariant="normal"'])
    return _write_tag("mi", escape(style_letters(text, variant)))


def _write_number(element: Element) -> str:
    return _write_tag(
        "mn", escape(style_letters(_read_text(element), element.get("mathvariant", "")))
    )


def _write_operator(element: Element) -> str:
    if len(element):  # `\mathop{…}`
        return _write_tag("mrow", _write_row(element, DEEPEST_ELEMENT // 2))
    text = _read_text(element)
    if _is_named_limit(element, text):
        spaces = ['movablelimits="true"', 'lspace="0.167em"', 'rspace="0.167em"']
        return _write_tag("mo", escape(text), spaces)
    if _is_name(text):
        return _write_tag("mi", escape(text))
    stretchy = ['stretchy="true"'] if text in _BARS and not element.get("stretchy") else []
    return _write_tag("mo", escape(text), [*_write_attributes(element), *stretchy])


def _write_text(element: Element) -> str:
    text = re.sub(r"\\([%$&#_{} ])", r"\1", _read_text(element))
    if "\\" in text or "{" in text:
        raise UnreadableTexError
    style = _TEXT_STYLES.get(element.get("mathvariant", ""))
    return _write_tag("mtext", escape(text), [f'class="{style}"'] if style else [])


def _write_space(element: Element) -> str:
    if element.get("linebreak"):
        raise UnreadableTexError
    return _write_tag("mspace", "", [f'width="{_to_em(element.get("width", "0"))}"'])


def _write_script(element: Element, depth: int) -> str:
    """Write an element with a fixed number of parts, such as a fraction or a power."""
    if len(element) != _CHILDREN[element.tag]:
        raise UnreadableTexError
    tag, attributes = element.tag, _write_attributes(element)
    if tag in _LIMITS and _takes_limits(element[0]):
        tag = _LIMITS[tag]
    if tag in {"mover", "munder"} and _read_text(element[1]) == _LINE:
        attributes = ['class="m-line"']  # no font stretches this character to the width of the base
    elif tag == "mover" and _read_text(element[1]) in _ACCENTS:
        attributes = ['accent="true"']
    return _write_tag(tag, "".join(_write_part(each, depth) for each in element), attributes)


def _write_part(element: Element, depth: int) -> str:
    """Write a part, which must remain a single element."""
    text = _write_element(element, depth + 1)
    return text if element.tag != "mrow" or len(element) else "<mrow></mrow>"


def _takes_limits(base: Element) -> bool:
    text = _read_text(base)
    return base.tag == "mo" and (text in _LARGE_OPERATORS or _is_named_limit(base, text))


def _is_named_limit(element: Element, text: str) -> bool:
    return element.get("movablelimits") == "true" or bool(_NAMED_LIMITS.match(text))


def _write_table(table: Element, depth: int) -> str:
    lines = {edge: table.get(f"{edge}lines", "").split() for edge in ("column", "row")}
    rows = []
    for number, row in enumerate(table):
        cells = [
            _write_cell(
                cell, depth + 2, _has_line(lines, "column", at), _has_line(lines, "row", number)
            )
            for at, cell in enumerate(row)
        ]
        rows.append(_write_tag("mtr", "".join(cells)))
    is_aligned = table.get("columnspacing", "").startswith("0em")
    attributes = [*_write_attributes(table), *(['class="m-aligned"'] if is_aligned else [])]
    return _write_tag("mtable", "".join(rows), attributes)


def _has_line(lines: dict[str, list[str]], edge: str, at: int) -> bool:
    return lines[edge][at : at + 1] in (["solid"], ["dashed"])


def _write_cell(cell: Element, depth: int, has_bar: bool, has_rule: bool) -> str:  # noqa: FBT001  # private
    align = cell.get("columnalign")
    classes = [f"m-{align}"] if align in {"left", "right"} else []
    classes += [*(["m-bar"] if has_bar else []), *(["m-rule"] if has_rule else [])]
    attributes = [f'class="{" ".join(classes)}"'] if classes else []
    return _write_tag("mtd", _write_row(cell, depth), attributes)


def _write_attributes(element: Element) -> list[str]:
    """Write the allowed attributes that have allowed values."""
    return [
        f'{name}="{value}"'
        for name, value in element.attrib.items()
        if name in _ATTRIBUTES and re.fullmatch(_ATTRIBUTES[name], value)
    ] + (['width="0"'] if element.tag == "mpadded" and element.get("width") == "0" else [])


def _to_em(length: str) -> str:
    """Convert a length to em, within bounds."""
    sign = "-" if length.startswith("negative") else ""
    length = sign + _SPACES.get(length.removeprefix("negative"), length)
    match = _LENGTH.fullmatch(length.strip())
    if not match or not match[1].strip("+-"):
        return "0"
    value = float(match[1]) * _EM.get(match[2], 1 / 18)
    return f"{max(-1.0, min(value, _WIDEST_SPACE)):.3g}em"


def _read_text(element: Element) -> str:
    """Return the text of an element; latex2mathml writes some characters as references."""
    text = _REFERENCE.sub(lambda match: chr(int(match[1], 16)), element.text or "")
    return strip_hidden_characters(text)


def _write_tag(tag: str, content: str, attributes: Iterable[str] = ()) -> str:
    return f"<{' '.join((tag, *attributes))}>{content}</{tag}>"


_LEAVES: dict[str, Callable[[Element], str]] = {
    "mi": _write_identifier,
    "mn": _write_number,
    "mo": _write_operator,
    "mtext": _write_text,
    "mspace": _write_space,
}
