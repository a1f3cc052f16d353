"""The drawing of a run: its columns from left to right, and which agent read which.

`moa_graph.drawing` lays out any graph from top to bottom. Here a column is a stage of the run, as
in the strip of the page, and no graph is needed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from unicodedata import east_asian_width

from moa_graph.run_report.columns import Column, Tile
from moa_graph.run_report.wording import count_words, join_words

TILE_WIDTH, GAP, HEAD = 192, 60, 30
TALL, LOW = 42, 26  # heights of tiles with two lines and with one
ROW_GAP = 8
MAX_TALL = 8  # maximum number of tiles with two lines in a column
CIRCLE_RADIUS = 12
NAME_CHARS, DETAIL_CHARS = 19, 27
LOW_CHARS = 26  # minimum width of name and detail

EdgeKind = Literal["", "critical", "off"]


@dataclass(frozen=True)
class PlacedTile:
    """A tile and its position."""

    tile: Tile
    x: float
    y: float
    height: float
    name: str
    detail: str
    width: float = TILE_WIDTH

    @property
    def is_low(self) -> bool:
        """Whether name and detail share a line."""
        return self.height < TALL

    @property
    def middle(self) -> float:
        """Vertical center, where edges end."""
        return self.y + self.height / 2

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width

    @property
    def tooltip(self) -> str:
        """Its complete name, model and state."""
        return "\n".join(filter(None, [self.tile.name, self.tile.model, self.tile.detail]))


@dataclass(frozen=True)
class DrawnEdge:
    """A line from a tile or a layer aggregator to another one."""

    path: str
    kind: EdgeKind


@dataclass(frozen=True)
class LayerAggregatorNode:
    """The node that collects the texts of a column."""

    x: float
    y: float
    count: int


@dataclass(frozen=True)
class Heading:
    """The heading of a column."""

    x: float
    title: str
    note: str


@dataclass(frozen=True)
class RunPicture:
    """All parts of the picture with their positions in pixels."""

    width: float
    height: float
    headings: Sequence[Heading]
    tiles: Sequence[PlacedTile]
    edges: Sequence[DrawnEdge]
    layer_aggregators: Sequence[LayerAggregatorNode]
    description: str
    """Description of the picture in words."""
    states: Sequence[str]
    """States that occur."""

    @property
    def is_wide(self) -> bool:
        """Whether the picture needs the whole width of the page."""
        return self.width > 4 * TILE_WIDTH  # three columns


def draw_picture(columns: Sequence[Column]) -> RunPicture:
    """Draw the columns of a run side by side."""
    most = max(len(column.tiles) for column in columns)
    skips = any(not column.was_asked for column in columns)
    height = TALL if most <= MAX_TALL else LOW
    rows = max(most, 3 if skips else 1)  # an edge past skipped stages needs space
    bottom = HEAD + rows * (height + ROW_GAP) - ROW_GAP
    placed = [_place_column(c, n, height, bottom) for n, c in enumerate(columns)]
    tiles = [tile for each in placed for tile in each]
    layer_aggregators = list(_place_layer_aggregators(columns, bottom))
    edges = sorted(_draw_edges(columns, placed, bottom), key=lambda edge: edge.kind == "critical")
    return RunPicture(
        width=len(columns) * (TILE_WIDTH + GAP) - GAP,
        height=bottom,
        headings=[Heading(n * (TILE_WIDTH + GAP), c.title, c.note) for n, c in enumerate(columns)],
        tiles=tiles,
        edges=edges,
        layer_aggregators=layer_aggregators,
        description=describe_columns(columns),
        states=[tile.tile.state.name for tile in tiles],
    )


def describe_columns(columns: Sequence[Column]) -> str:
    """Describe the picture in words."""
    stages = [
        f"{column.title}: {count_words(len(column.tiles), 'agent')}"
        if len(column.tiles) > 1
        else f"{column.title}: {column.tiles[0].name}"
        for column in columns
    ]
    fates = [
        f"{column.title}: {join_words(lost)}."
        for column in columns
        if (
            lost := [
                f"{t.name} {t.state.word}" for t in column.tiles if t.state.name in {"bad", "cut"}
            ]
        )
    ]
    waited = [tile.name for column in columns for tile in column.tiles if tile.is_critical]
    path = [f"The run waited for {join_words(waited)}."] if waited else []
    return " ".join([f"{'; '.join(stages)}.", *fates, *path])


def _place_column(column: Column, number: int, height: float, bottom: float) -> list[PlacedTile]:
    x, step = number * (TILE_WIDTH + GAP), height + ROW_GAP
    used = len(column.tiles) * step - ROW_GAP
    top = HEAD + (bottom - HEAD - used) / 2 if column.was_asked else HEAD
    return [
        PlacedTile(tile, x, top + row * step, height, *_fit_texts(tile, height))
        for row, tile in enumerate(column.tiles)
    ]


def _fit_texts(tile: Tile, height: float) -> tuple[str, str]:
    if height == TALL:
        return shorten(tile.name, NAME_CHARS), _drop_parts(tile.detail, DETAIL_CHARS)
    detail = tile.detail.partition(" · ")[0]
    return shorten(tile.name, LOW_CHARS - len(detail)), detail


def _drop_parts(detail: str, limit: int) -> str:
    """Remove the last parts that do not fit into a tile; the tooltip has them."""
    parts = detail.split(" · ")
    while len(parts) > 1 and len(" · ".join(parts)) > limit:
        parts.pop()
    return shorten(" · ".join(parts), limit)


def shorten(text: str, limit: int) -> str:
    """Truncate a text to a width; East Asian characters count twice."""
    room = limit
    for place, letter in enumerate(text):
        room -= 2 if east_asian_width(letter) in "WF" else 1
        if room < 0:
            return f"{text[: max(0, place - 1)]}…"
    return text


def _place_layer_aggregators(
    columns: Sequence[Column], bottom: float
) -> Iterator[LayerAggregatorNode]:
    for number, column in enumerate(columns[:-1]):
        if column.gathered is not None:
            yield LayerAggregatorNode(_layer_aggregator_x(number), _middle(bottom), column.gathered)


def _layer_aggregator_x(number: int) -> float:
    return number * (TILE_WIDTH + GAP) + TILE_WIDTH + GAP / 2


def _middle(bottom: float) -> float:
    return HEAD + (bottom - HEAD) / 2


def _draw_edges(
    columns: Sequence[Column], placed: Sequence[Sequence[PlacedTile]], bottom: float
) -> Iterator[DrawnEdge]:
    """Draw edges from each stage that ran to the next one."""
    asked = [number for number, column in enumerate(columns) if column.was_asked]
    middle = _middle(bottom)
    for first, second in pairwise(asked):
        targets, is_gathered = placed[second], columns[first].gathered is not None
        starts = placed[first][-1:] if columns[first].is_chain else placed[first]
        middle_x = _layer_aggregator_x(first)
        if is_gathered:
            for tile in starts:
                way = _curve((tile.right, tile.middle), (middle_x - CIRCLE_RADIUS, middle))
                yield DrawnEdge(way, _kind_from(tile))
        for tile in targets:
            ends = (
                [(middle_x + CIRCLE_RADIUS, middle)]
                if is_gathered
                else [(t.right, t.middle) for t in starts]
            )
            kind = _kind_to(tile) if is_gathered or any(t.tile.is_read for t in starts) else "off"
            for start in ends:
                yield DrawnEdge(_way_to(start, tile, middle, second - first), kind)
    for column, tiles in zip(columns, placed, strict=True):
        if column.is_chain:
            for above, below in pairwise(tiles):
                x = above.x + above.width / 2
                yield DrawnEdge(f"M{x:g} {above.y + above.height:g}V{below.y:g}", _kind_to(below))


def _way_to(start: tuple[float, float], tile: PlacedTile, middle: float, distance: int) -> str:
    """Return the path of an edge to a tile, straight past skipped stages."""
    if distance == 1:
        return _curve(start, (tile.x, tile.middle))
    turn = tile.x - GAP
    past = f"{_curve(start, (start[0] + GAP / 2, middle))}H{turn:g}"
    return f"{past}{_bend((turn, middle), (tile.x, tile.middle))}"


def _curve(start: tuple[float, float], end: tuple[float, float]) -> str:
    return f"M{start[0]:g} {start[1]:g}{_bend(start, end)}"


def _bend(start: tuple[float, float], end: tuple[float, float]) -> str:
    half = (start[0] + end[0]) / 2
    return f"C{half:g} {start[1]:g} {half:g} {end[1]:g} {end[0]:g} {end[1]:g}"


def _kind_from(tile: PlacedTile) -> EdgeKind:
    if not tile.tile.is_read:
        return "off"
    return "critical" if tile.tile.is_critical else ""


def _kind_to(tile: PlacedTile) -> EdgeKind:
    if tile.tile.state.name in {"wait", "skip"}:
        return "off"
    return "critical" if tile.tile.is_critical else ""
