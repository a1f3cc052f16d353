"""Load the templates of a document: a report of a run, or of `moa eval`."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from moa_graph.styles.sheets import read_sheet


def load_templates(folder: Path, sheets: Sequence[str]) -> Environment:
    """Load templates that extend `document.html`, the common head of all documents.

    Args:
        folder: Folder of the templates.
        sheets: Names of their style sheets; later ones take precedence.
    """
    environment = Environment(
        loader=FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    styles = "\n".join(map(read_sheet, sheets))
    environment.globals["styles"] = Markup(styles)  # noqa: S704  # files of this package
    return environment
