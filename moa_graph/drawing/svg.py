"""Render a diagram as SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from string import Template

from moa_graph.drawing.diagram import CRITICAL_LEGEND, LEGEND, NOT_ASKED, Diagram, DiagramNode
from moa_graph.drawing.layout import DiagramLayout, Rect
from moa_graph.runs.formatting import format_call, format_run, strip_hidden_characters
from moa_graph.styles.sheets import SCHEMES, read_tokens

LINE_HEIGHT, CAPTION_MARGIN, SIDE_MARGIN, SIGN_WIDTH = 20, 8, 24, 22  # pixels
LETTER_WIDTH = 6.5  # approximate width of a letter in pixels
CAPTION_LETTER_WIDTH = 6.2  # the same for the caption, with its long lines
CRITICAL_SIGN = "critical-sign"  # class in the style sheet
SEPARATOR = " · "  # between facts of a caption

_ARROW = (
    '<defs><marker id="moa-arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path class="arrow" d="M0 0 L8 4 L0 8 Z"/></marker></defs>'
)

_SHAPES = """
.moa-drawing { font-family: Roboto, system-ui, sans-serif; font-size: 12px }
.moa-drawing text { text-anchor: middle }
.moa-drawing .name { font-size: 13px; font-weight: bold }
.moa-drawing .title { text-anchor: start; paint-order: stroke; stroke-width: 5 }
.moa-drawing .caption { text-anchor: start }
.moa-drawing .edge { fill: none; stroke-width: 1.2 }
.moa-drawing .edge.critical, .moa-drawing .critical-sign { stroke-width: 2.4 }
.moa-drawing .edge.optional { stroke-dasharray: 5 4 }
.moa-drawing .failed { stroke-width: 2 }
.moa-drawing .cutoff { stroke-width: 2; stroke-dasharray: 6 4 }
.moa-drawing .missing { fill: none; stroke-dasharray: 2 3 }
.moa-drawing rect.critical { stroke-width: 2.6 }
"""
_COLOURS = Template("""
.moa-drawing text { fill: $ink }
.moa-drawing .title { fill: $dim; stroke: $ground }
.moa-drawing .caption { fill: $dim }
.moa-drawing .box { fill: $ground; stroke: $line }
.moa-drawing .edge { stroke: $edge }
.moa-drawing .edge.critical, .moa-drawing .critical-sign { stroke: $ink }
.moa-drawing .arrow { fill: $edge }
.moa-drawing .agent { fill: $paper; stroke: $accent }
.moa-drawing .layer_aggregator, .moa-drawing .other { fill: $raise; stroke: $edge }
.moa-drawing .agent.critical, .moa-drawing .layer_aggregator.critical { stroke: $ink }
.moa-drawing .failed { fill: $bad_soft; stroke: $bad }
.moa-drawing .cutoff { fill: $warn_soft; stroke: $warn }
.moa-drawing .missing { stroke: $edge }
.moa-drawing .skipped { fill: $raise; stroke: $line }
.moa-drawing .skipped ~ text { fill: $dim }
""")


def render_svg(diagram: Diagram) -> str:
    """Render a diagram that follows the light or dark mode of the reader."""
    layout = DiagramLayout(diagram)
    caption = list(_wrap_caption(diagram, layout.width))
    legend = list(_place_legend(diagram, layout.width))
    legend_rows = legend[-1].row + 1 if legend else 0
    height = layout.height + LINE_HEIGHT * (len(caption) + legend_rows)
    height += CAPTION_MARGIN * bool(diagram.run)
    width, legend_y = layout.width, layout.height + LINE_HEIGHT * len(caption)
    start = (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="moa-drawing" role="img" '
        f'aria-label="{escape(_accessible_label(diagram))}" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}">'
    )
    lines = [
        start,
        _ARROW,
        f"<style>{_write_style()}</style>",
        *(
            f'<rect class="box" {_rect_attributes(rect)} rx="10"/>'
            for rect in layout.box_rects.values()
        ),
        *_draw_edges(diagram, layout),
        *(_draw_title(title, rect) for title, rect in layout.box_rects.items()),
        *(_draw_node(node, layout.node_rects[name]) for name, node in diagram.nodes.items()),
        *_draw_caption(caption, layout.height),
        *(_draw_legend_item(item, legend_y) for item in legend),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


@cache
def _write_style() -> str:
    """Return the style sheet with values, because some SVG viewers do not support variables."""
    light, dark = (
        _COLOURS.substitute({k.replace("-", "_"): v for k, v in read_tokens(scheme).items()})
        for scheme in SCHEMES
    )
    return f"{_SHAPES}{light}@media screen and (prefers-color-scheme: dark) {{{dark}}}\n"


def _draw_edges(diagram: Diagram, layout: DiagramLayout) -> Iterator[str]:
    """Draw the edges; those of the critical path are on top."""
    for edge in sorted(diagram.edges, key=diagram.is_critical_edge):
        style = "edge critical" if diagram.is_critical_edge(edge) else "edge"
        style += " optional" if diagram.is_optional_edge(edge) else ""
        arrow = ' marker-end="url(#moa-arrow)"' if layout.is_back_edge(edge) else ""
        yield f'<path class="{style}" d="{layout.edge_path(edge)}"{arrow}/>'


def _draw_title(title: str, rect: Rect) -> str:
    return (
        f'<text class="title" x="{rect.x + 12:g}" y="{rect.y + 19:g}">{_escape_text(title)}</text>'
    )


def _draw_node(node: DiagramNode, rect: Rect) -> str:
    lines = [node.label]
    if node.model:
        lines.append(node.model.rpartition("/")[2])
    if node.kind == "agent" and (node.call or node.missing_reason):
        lines.append(format_call(node.call) if node.call else node.missing_reason or "")
    style = f"{_node_class(node)}{' critical' if node.critical else ''}"
    radius = 6 if node.kind == "agent" else rect.height / 2
    shape = f'<rect class="{style}" {_rect_attributes(rect)} rx="{radius:g}"/>'
    texts = "".join(_draw_lines(lines, rect, bold=node.kind == "agent"))
    return f"<g><title>{_escape_text(_tooltip_text(node))}</title>{shape}{texts}</g>"


def _draw_lines(lines: list[str], rect: Rect, *, bold: bool) -> Iterator[str]:
    first = rect.y + rect.height / 2 - 8 * (len(lines) - 1) + 4
    for number, line in enumerate(lines):
        style = ' class="name"' if bold and number == 0 else ""
        max_chars = int(rect.width / LETTER_WIDTH) - 3 * bool(style)
        short = line if len(line) <= max_chars else f"{line[: max_chars - 1]}…"
        y, text = first + 16 * number, _escape_text(short)
        yield f'<text{style} x="{rect.center_x:g}" y="{y:g}">{text}</text>'


def _tooltip_text(node: DiagramNode) -> str:
    parts = [node.name, node.model or ""]
    if node.call:
        parts.append(node.call.error or format_call(node.call))
    return "\n".join(filter(None, parts))


def _node_class(node: DiagramNode) -> str:
    if node.missing_reason:
        return "skipped" if node.missing_reason == NOT_ASKED else "missing"
    if node.call and node.call.error:
        return "failed" if node.call.status == "failed" else "cutoff"
    return node.kind


def _wrap_caption(diagram: Diagram, width: float) -> Iterator[str]:
    """Split the caption into lines that fit."""
    facts = format_run(diagram.run).split(SEPARATOR) if diagram.run else []
    line = ""
    for fact in facts:
        longer = f"{line}{SEPARATOR}{fact}" if line else fact
        if line and len(longer) * CAPTION_LETTER_WIDTH > width - 2 * SIDE_MARGIN:
            yield line
            line = fact
        else:
            line = longer
    if line:
        yield line


def _draw_caption(lines: Sequence[str], y: float) -> Iterator[str]:
    for number, line in enumerate(lines):
        place = f'x="{SIDE_MARGIN}" y="{y + 8 + LINE_HEIGHT * number:g}"'
        yield f'<text class="caption" {place}>{_escape_text(line)}</text>'


@dataclass(frozen=True)
class LegendItem:
    """A sign and its meaning."""

    style: str
    words: str
    x: float
    row: int


def _place_legend(diagram: Diagram, width: float) -> Iterator[LegendItem]:
    """Return the legend of the styles that occur."""
    classes = {_node_class(node) for node in diagram.nodes.values()}
    signs = {name: words for name, words in LEGEND.items() if name in classes}
    if diagram.has_critical_path:
        signs = {CRITICAL_SIGN: CRITICAL_LEGEND} | signs
    x, row = float(SIDE_MARGIN), 0
    for style, words in signs.items():
        item_width = SIGN_WIDTH + 24 + len(words) * CAPTION_LETTER_WIDTH
        if x > SIDE_MARGIN and x + item_width > width:
            x, row = float(SIDE_MARGIN), row + 1
        yield LegendItem(style, words, x, row)
        x += item_width


def _draw_legend_item(item: LegendItem, top: float) -> str:
    y = top + 8 + LINE_HEIGHT * item.row
    sign = (
        f'<path class="{item.style}" d="M{item.x:g} {y - 4:g} h{SIGN_WIDTH}"/>'
        if item.style == CRITICAL_SIGN
        else f'<rect class="{item.style}" x="{item.x:g}" y="{y - 10:g}" width="{SIGN_WIDTH}" '
        'height="12" rx="3"/>'
    )
    text = f'<text class="caption" x="{item.x + SIGN_WIDTH + 6:g}" y="{y:g}">{item.words}</text>'
    return f'<g class="legend">{sign}{text}</g>'


def _accessible_label(diagram: Diagram) -> str:
    """Describe the agents and the run in words."""
    agents = [node for node in diagram.nodes.values() if node.kind == "agent"]
    label = f"Mixture-of-Agents graph with {len(agents)} agents"
    if not diagram.run:
        return label
    failures = [f"{n.name} {n.call.status}" for n in agents if n.call and n.call.error]
    return "; ".join([label, format_run(diagram.run).replace(SEPARATOR, ", "), *failures])


def _rect_attributes(rect: Rect) -> str:
    return f'x="{rect.x:g}" y="{rect.y:g}" width="{rect.width:g}" height="{rect.height:g}"'


def _escape_text(text: str) -> str:
    return escape(strip_hidden_characters(text))
