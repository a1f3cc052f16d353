"""Settings of the site: `sphinx-build -W -c docs . build/site`.

The sources are the pages as they lie in the repository, so that a link leads to the same place in
a clone and on the site. `docs/index.md` says which pages there are, and in which order.
"""

import re
import tomllib
from collections.abc import Iterator
from inspect import Parameter, Signature, signature
from pathlib import Path
from textwrap import indent
from typing import Any

from numpy.typing import ArrayLike
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.domains.python import PyAttribute
from sphinx.util.typing import stringify_annotation

from moa_graph import MoAConfig, __version__, draw_svg

ROOT = Path(__file__).parent.parent
CONTENTS = "docs/index"
ARRAY = stringify_annotation(ArrayLike, "smart")  # NumPy writes it out as a union
BLOCK = re.DOTALL | re.MULTILINE
CODE = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", BLOCK)

project = "moa_graph"
version = release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = CONTENTS
include_patterns = [
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"),
    *("docs/**", "tests/*/README.md"),
]
exclude_patterns = [".*", "build", "dist", "examples", "moa_graph", "node_modules"]

myst_heading_anchors = 4
default_role = "literal"  # docstrings write `names` as Markdown does
nitpicky = True
nitpick_ignore_regex = [
    # What other packages define: their own sites say more, and a build needs no network.
    (r"py:.*", r"(?!moa_graph\b)[\w.]+\..+"),
    (r"py:class", r"[^.]+"),  # a name that only type checkers read, or words before a colon
    (r"py:class", r"moa_graph\.graph\.graph_spec\.GraphSpec"),  # no part of the public API
]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
maximum_signature_line_length = 80
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"moa_graph {release}"
html_extra_path = ["redirect"]  # the first address leads to the contents
html_show_sphinx = False
html_copy_source = False


def toctrees(text: str) -> Iterator[str]:
    """Make the site's contents of the lists of a page, each under the line in front of it."""
    for caption, items in re.findall(r"^(.+):\n\n((?:- .+\n)+)", text, re.MULTILINE):
        pages = re.findall(r"\[([^]]+)\]\(([^):#]+)\.(?:md|rst)(?:#[^)]*)?\)", items)
        lines = "\n".join(f"{title} </docs/{page}>" for title, page in pages)
        yield f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{lines}\n```"


def draw_mixture() -> str:
    """Draw the mixture of the page on configuration, whose code as Mermaid another page shows."""
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    data = tomllib.loads(re.search(r"^```toml\n(.*?)^```$", page, BLOCK)[1])
    return draw_svg(MoAConfig.model_validate(data).graph())


def prepare_page(_app: Sphinx, docname: str, source: list[str]) -> None:
    """Add what a plain page leaves to the site: contents, and a drawing in place of its code."""
    text = source[0]
    if docname == CONTENTS:
        text += "\n" + "\n\n".join(toctrees(text)) + "\n"
    if "\n```mermaid\n" in text:
        drawing = f"```{{raw}} html\n{draw_mixture()}\n```"
        text = re.sub(r"^```mermaid\n.*?^```$", lambda _: drawing, text, flags=BLOCK)
    source[0] = text


def prepare_docstring(
    _app: Sphinx, kind: str, _name: str, _obj: object, _options: object, lines: list[str]
) -> None:
    """Rewrite the fenced code of a docstring for reStructuredText."""
    text = "\n".join(lines)
    lines[:] = CODE.sub(write_code_block, text).split("\n")
    if kind in {"attribute", "data", "property"}:
        lines[:0] = ["..", ""]  # a comment: napoleon takes words before a colon for a type


def write_code_block(fence: re.Match[str]) -> str:
    """Indent fenced code below a directive."""
    margin, language, code = fence.groups()
    return f"{margin}.. code-block:: {language}\n\n{indent(code, '    ')}"


def prepare_signature(
    _app: Sphinx, _kind: str, _name: str, obj: Any, _options: object, *parts: str | None
) -> tuple[str | None, ...]:
    """Leave out of a signature what types are annotated with, and types that fields have, too."""
    if isinstance(obj, type) and issubclass(obj, BaseModel):
        parameters = signature(obj).parameters.values()
        names = [each.replace(annotation=Parameter.empty) for each in parameters]
        return shorten(str(Signature(names))), None
    return tuple(each and shorten(without_annotations(each)) for each in parts)


def shorten(types: str) -> str:
    """Write `...` for the default of a factory, and name NumPy's long union."""
    return types.replace("<factory>", "...").replace(ARRAY, "~numpy.typing.ArrayLike")


def without_annotations(types: str) -> str:
    """Write `Annotated[int, Ge(ge=1)]` as `int`."""
    before, mark, rest = types.partition("Annotated[")
    if not mark:
        return types
    depth, comma = 0, len(rest)
    for place, letter in enumerate(rest):
        depth += (letter in "[(") - (letter in "])")
        if letter == "," and depth == 0:
            comma = min(comma, place)
        if depth < 0:
            return before.removesuffix("~typing.") + without_annotations(
                rest[:comma] + rest[place + 1 :]
            )
    return types


class Attribute(PyAttribute):
    """An attribute, whose type is written as in signatures."""

    def handle_signature(self, sig: str, signode: Any) -> tuple[str, str]:
        """Write the signature."""
        if "type" in self.options:
            self.options["type"] = without_annotations(self.options["type"])
        return super().handle_signature(sig, signode)


def setup(app: Sphinx) -> None:
    """Connect what is above."""
    app.connect("source-read", prepare_page)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)  # before napoleon
    app.connect("autodoc-process-signature", prepare_signature)
    app.add_directive_to_domain("py", "attribute", Attribute, override=True)
