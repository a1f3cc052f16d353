"""The style of figures: one font, and colours for colour-blind readers."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from textwrap import fill
from typing import Any, NamedTuple

import matplotlib as mpl
from font_roboto import font_files
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from moa_graph.styles.sheets import read_tokens

_TOKENS = read_tokens()
INK, SOFT, LINE = (_TOKENS[name] for name in ("ink", "dim", "line"))
COLOURS = tuple(_TOKENS[f"c{number}"] for number in range(6))
"""Colours that colour-blind readers can distinguish; markers and dashes differ too."""
_WHITE = "#ffffff"  # fill of hollow points
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))
WIDTH = 6.4  # inches
DPI = 160
NOTE_WIDTH = 15  # characters per inch in a footnote
NOTE_MARGIN = 0.04  # inches
NAME_CHARS = 28  # of a line: longer names have several
SMALL = 10  # points
MAX_VALUES = 40  # points in the alternative text

_STYLE: Any = {
    "font.family": "Roboto",
    "font.size": 11,  # a page shows figures at 0.9 of their size, and 12 px is the least
    "text.color": INK,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 12,
    "xtick.labelsize": SMALL,
    "legend.fontsize": SMALL,
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
    "text.parse_math": False,  # names may contain a dollar sign
}


@dataclass(frozen=True)
class RenderedFigure:
    """A rendered figure."""

    name: str
    """Name of its files."""
    caption: str
    alternative: str
    """Alternative text with its values."""
    svg: str
    png: bytes

    @property
    def inline(self) -> str:
        """The SVG as a part of a page, with the colours of the page."""
        text = self.svg[self.svg.index("<svg") :]
        text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
        names = {INK: "ink", SOFT: "dim", LINE: "line", _WHITE: "paper"}
        names |= {colour: f"c{place}" for place, colour in enumerate(COLOURS)}
        for colour, name in names.items():
            text = text.replace(colour, f"var(--{name})")
        # Ids must be unique among the figures of a page.
        prefix = re.sub(r"[^\w-]", "_", self.name)
        return re.sub(r'(\bid="|"#|url\(#)', rf"\g<1>{prefix}-", text)


class LineStyle(NamedTuple):
    """The style of a curve."""

    colour: str
    marker: str
    dash: Any


def line_style_of(number: int) -> LineStyle:
    """Return the style of a curve; many curves share styles."""
    place = number % len(COLOURS)
    return LineStyle(COLOURS[place], MARKERS[place], DASHES[place])


@contextmanager
def figure_style() -> Iterator[None]:
    """Use this style in the block."""
    font_manager.fontManager.addfont(font_files["Roboto"])
    with mpl.rc_context(_STYLE):
        yield


def break_name(name: str) -> str:
    """Split a long name into lines, preferably at hyphens."""
    return fill(name, NAME_CHARS)


def format_dollars(amount: float, _: Any = None) -> str:
    """Write an amount without an exponent, for an axis."""
    return f"{amount:.8f}".rstrip("0").rstrip(".")


def new_figure(height: float) -> tuple[Figure, Axes]:
    """Create a figure of a height in inches."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.add_subplot()


def render_figure(
    figure: Figure, name: str, caption: str, footnote: str, values: Sequence[str] = ()
) -> RenderedFigure:
    """Add a footnote to a figure, and render it.

    Args:
        figure: The figure, laid out by `constrained`.
        name: Name of its files.
        caption: Description of its content.
        footnote: Labels that must accompany it.
        values: Its values, point by point, for the alternative text.
    """
    width, height = figure.get_size_inches()
    text = fill(footnote, round(width * NOTE_WIDTH))
    note = figure.text(0.012, 0, text, fontsize=SMALL, color=SOFT, va="bottom", linespacing=1.25)
    note_height = note.get_window_extent().height / figure.dpi + 2 * NOTE_MARGIN if text else 0
    figure.set_size_inches(width, height + note_height)
    share = note_height / (height + note_height)
    figure.set_layout_engine("constrained", rect=(0, share, 1, 1 - share))
    note.set_y(NOTE_MARGIN / (height + note_height))
    figure.draw_without_rendering()
    figure.set_layout_engine("none")  # keep the layout, which takes most of the time
    png, svg = io.BytesIO(), io.StringIO()
    alternative = _write_alternative(caption, values)
    metadata = {"Software": None, "Description": alternative}
    figure.savefig(png, format="png", dpi=DPI, facecolor="white", metadata=metadata)
    figure.savefig(svg, format="svg", transparent=True, metadata={"Date": None})
    label = f'<svg role="img" aria-label="{escape(alternative)}"'
    text = svg.getvalue().replace("<svg", label, 1)
    return RenderedFigure(name, caption, alternative, text, png.getvalue())


def _write_alternative(caption: str, values: Sequence[str]) -> str:
    text = "; ".join(values[:MAX_VALUES])
    more = f"; and {len(values) - MAX_VALUES} more" if len(values) > MAX_VALUES else ""
    return f"{caption}. {text}{more}." if values else f"{caption}."
