"""How figures look: no screen, one font, colours that colour-blind readers tell apart."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from textwrap import fill
from typing import Any

import matplotlib as mpl
from font_roboto import font_files
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, SOFT, LINE = "#0f172a", "#526077", "#d7dee8"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's, which differ for every kind of sight; markers and dashes differ, too."""
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
WIDTH = 6.4  # inches
DPI = 160
NOTE_WIDTH = 23  # characters an inch, in a footnote
NOTE_LINE = 0.14  # inches

_STYLE: Any = {
    "font.family": "Roboto",
    "font.size": 9,
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "svg.hashsalt": "moa_graph",
    "text.parse_math": False,  # a name may have a dollar in it
}


@dataclass(frozen=True)
class RenderedFigure:
    """A figure, drawn."""

    name: str
    """Of its files."""
    caption: str
    svg: str
    png: bytes

    @property
    def inline(self) -> str:
        """The SVG as a part of a page, whose colours it takes."""
        text = self.svg[self.svg.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        names = {INK: "ink", SOFT: "soft", LINE: "line"}
        names |= {colour: f"c{place}" for place, colour in enumerate(COLOURS)}
        for colour, name in names.items():
            text = text.replace(colour, f"var(--{name})")
        # Ids are told apart by figure; a page has several.
        text = re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{self.name}-", text)
        return text.replace(
            "<svg", f'<svg role="img" aria-label="{_escape_attribute(self.caption)}"', 1
        )


@contextmanager
def figure_style() -> Iterator[None]:
    """Draw in this style."""
    font_manager.fontManager.addfont(font_files["Roboto"])
    with mpl.rc_context(_STYLE):
        yield


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Begin a figure that is some inches high."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def render_figure(figure: Figure, name: str, caption: str, footnote: str) -> RenderedFigure:
    """Write the footnote under a figure, and draw it.

    Args:
        figure: The figure, laid out by `constrained`.
        name: Of its files.
        caption: What it shows.
        footnote: What has to be said wherever it is seen.
    """
    width, height = figure.get_size_inches()
    text = fill(footnote, round(width * NOTE_WIDTH))
    note_height = NOTE_LINE * (text.count("\n") + 1) + 0.08 if text else 0
    figure.set_size_inches(width, height + note_height)
    share = note_height / (height + note_height)
    figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))
    figure.text(0.012, 0.012, text, fontsize=7, color=SOFT, va="bottom", linespacing=1.25)
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # it stays as it is: laying out takes most of the time
    png, svg = io.BytesIO(), io.StringIO()
    figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    return RenderedFigure(name, caption, svg.getvalue(), png.getvalue())


def _escape_attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
