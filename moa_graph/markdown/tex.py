"""Adapt TeX from models to the commands that latex2mathml supports."""

import re

from moa_graph.errors import MoAError

# Environments and commands that latex2mathml lacks, with their closest equivalents.
_ENVIRONMENTS = {
    **dict.fromkeys(("align", "aligned", "alignedat", "alignat", "flalign"), "align*"),
    **dict.fromkeys(("alignat*", "flalign*", "eqnarray", "eqnarray*"), "align*"),
    **dict.fromkeys(("gather", "gather*", "gathered", "multline", "multline*"), "matrix"),
    **dict.fromkeys(("equation", "equation*", "math", "displaymath"), ""),
    **dict.fromkeys(("dcases", "cases*"), "cases"),
    "tabular": "array",
}
_COMMANDS = {
    **dict.fromkeys(("nonumber", "notag", "allowbreak", "nolimits"), ""),
    **dict.fromkeys(("mathds", "mathbbm"), r"\mathbb"),
    **dict.fromkeys(("hdots", "dotsc", "dotso"), r"\dots"),
    "arg": r"\operatorname{arg}",
    "lparen": "(",
    "rparen": ")",
}
# Commands that define commands, or that no formula needs. A formula with one remains TeX.
_REFUSED = {
    *("newcommand", "renewcommand", "providecommand", "newenvironment", "renewenvironment"),
    *("def", "edef", "gdef", "xdef", "let", "DeclareMathOperator", "unicode", "verb"),
    *("href", "url", "style", "class", "cssId", "data", "includegraphics", "input", "include"),
}
_PART = re.compile(
    r"""
    (?P<row>\\\\\*?\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\])
    | \\(?P<edge>begin|end)\s*\{(?P<environment>[a-zA-Z]+\*?)\}(?P<place>\[[tbc]\])?
    | (?P<left_out>\\(?:label|require)\s*\{[^{}]*\})
    | \\(?P<command>[a-zA-Z]+)
    | (?P<comma>\{,\})
    | (?P<escaped>\\.)
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED = re.compile(r"\\.", re.DOTALL)
_COLUMN_PAIRS = re.compile(r"(\\begin\{align\*\})\s*\{\d+\}")


class UnreadableTexError(MoAError):
    """A formula cannot be converted to MathML."""


def prepare_tex(tex: str) -> str:
    """Rewrite a formula with the commands and environments that latex2mathml supports.

    Raises:
        UnreadableTexError: If it contains a refused command, or unbalanced braces.
    """
    bare = _ESCAPED.sub("", tex)
    if bare.count("{") != bare.count("}"):
        raise UnreadableTexError
    prepared = _COLUMN_PAIRS.sub(r"\1", _PART.sub(_replace_part, tex))
    if r"\\" not in prepared or r"\begin" in prepared:
        return prepared
    environment = "align*" if "&" in prepared else "matrix"
    return rf"\begin{{{environment}}}{prepared}\end{{{environment}}}"


def _replace_part(part: re.Match[str]) -> str:
    if part["row"]:
        return r"\\"
    if part["left_out"]:
        return ""
    if part["comma"]:
        return r"\text{,}"
    if part["edge"]:
        return _replace_environment(part["edge"], part["environment"])
    if part["command"] in _REFUSED:
        raise UnreadableTexError
    return _COMMANDS.get(part["command"] or "", part[0])


def _replace_environment(edge: str, name: str) -> str:
    replacement = _ENVIRONMENTS.get(name, name)
    return rf"\{edge}{{{replacement}}}" if replacement else ""
