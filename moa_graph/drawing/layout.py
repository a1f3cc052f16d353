"""Where the nodes, boxes and edges of a diagram go: ranks from top to bottom, in pixels.

A mixture keeps to a lane of its own; what runs beside it in a host graph goes into the next. A
layer with many proposers has several rows, and its edges pass between the columns.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from moa_graph.drawing.diagram import Diagram, Node

COLUMNS = 6
GAP = 18
RANK_GAP = 40
PAD = 14
TITLE = 22
MARGIN = 24
LANE_GAP = 48

Point = tuple[float, float]
Edge = tuple[str, str]


@dataclass(frozen=True)
class Rect:
    """A rectangle, by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        """Where its vertical axis is."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Where it ends."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """Where it ends."""
        return self.x + self.width


@dataclass(frozen=True)
class Block:
    """Nodes that keep to one lane: a mixture, or a node of its host."""

    rows: Mapping[int, Sequence[Sequence[Node]]]
    """The rows of each rank."""
    last: int
    """The rank above which nothing else may stand in its lane: its edge passes there."""

    @property
    def width(self) -> float:
        """Width of the widest row."""
        return max(_row_width(row) for rows in self.rows.values() for row in rows)

    def meets(self, other: "Block") -> bool:
        """Whether the two stand beside each other somewhere."""
        return min(self.rows) <= other.last and min(other.rows) <= self.last


class Placing:
    """The places of everything in a diagram."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._ranks = _ranks(diagram)
        self._lanes = _lanes(_blocks(diagram, self._ranks))
        self._lane_of = {
            node.name: lane
            for lane, blocks in enumerate(self._lanes)
            for block in blocks
            for rows in block.rows.values()
            for row in rows
            for node in row
        }

    @cached_property
    def nodes(self) -> dict[str, Rect]:
        """The place of each node."""
        places: dict[str, Rect] = {}
        for middle, lane in zip(self._middles, self._lanes, strict=True):
            for block in lane:
                for rank, rows in block.rows.items():
                    places |= self._place_rows(rows, middle, *self._bands[rank])
        return places

    @cached_property
    def boxes(self) -> dict[str, Rect]:
        """The place of each box, by its title."""
        members: dict[str, list[Rect]] = defaultdict(list)
        for name, node in self._diagram.nodes.items():
            if node.box is not None:
                members[node.box].append(self.nodes[name])
        return {title: _around(rects) for title, rects in members.items()}

    @cached_property
    def width(self) -> float:
        """Width of the picture."""
        return sum(self._lane_widths) + LANE_GAP * (len(self._lanes) - 1) + 4 * MARGIN

    @cached_property
    def height(self) -> float:
        """Height of the picture."""
        return self._bands[max(self._bands)][1] + MARGIN

    def path(self, edge: Edge) -> str:
        """Draw an edge as an SVG path that passes behind no node but its own."""
        source, target = (self.nodes[name] for name in edge)
        head = [(source.middle, source.bottom), *self._way_out(edge[0])]
        tail = [*self._way_in(edge[1]), (target.middle, target.y)]
        if (x := self._detour(edge)) is not None:
            below, above = head[-1][1] + RANK_GAP * 0.8, tail[0][1] - RANK_GAP * 0.8
            way = f"{_curve(head[-1], (x, below))} L{x:g} {above:g} {_curve((x, above), tail[0])}"
            return f"{_line(head)} {way} {_line(tail[1:], 'L')}".strip()
        return f"{_line(head)} {_curve(head[-1], tail[0])} {_line(tail[1:], 'L')}".strip()

    def leads_back(self, edge: Edge) -> bool:
        """Whether an edge leads to a node above or beside its source."""
        return self._ranks[edge[1]] <= self._ranks[edge[0]]

    def _way_out(self, name: str) -> list[Point]:
        """Lead an edge down between the columns where other rows stand below."""
        place, (_, bottom) = self.nodes[name], self._bands[self._ranks[name]]
        if all(other.y <= place.bottom for other in self._beside(name)):
            return []
        x, y = place.right + GAP / 3, place.bottom + GAP / 2
        return [(place.middle, y), (x, y), (x, bottom)]

    def _way_in(self, name: str) -> list[Point]:
        """Lead an edge down between the columns where other rows stand above."""
        place, (top, _) = self.nodes[name], self._bands[self._ranks[name]]
        if all(other.bottom >= place.y for other in self._beside(name)):
            return []
        x, y = place.x - GAP / 3, place.y - GAP / 2
        return [(x, top), (x, y), (place.middle, y)]

    def _beside(self, name: str) -> Iterator[Rect]:
        """Give the places of the nodes of the same rank and lane."""
        for other, rank in self._ranks.items():
            if rank == self._ranks[name] and self._lane_of[other] == self._lane_of[name]:
                yield self.nodes[other]

    def _detour(self, edge: Edge) -> float | None:
        """Find where an edge passes nodes that stand between its ends."""
        (first, last), lanes = (self._ranks[n] for n in edge), [self._lane_of[n] for n in edge]
        between = {self._lane_of[name] for name, rank in self._ranks.items() if first < rank < last}
        if self.leads_back(edge):
            return MARGIN / 2
        if last - first == 1 or lanes[0] == lanes[1] not in between:
            return None
        if lanes[0] == lanes[1]:
            return MARGIN / 2
        return self.nodes[edge[lanes[1] > lanes[0]]].middle

    @cached_property
    def _lane_widths(self) -> list[float]:
        return [max(block.width for block in lane) + 2 * PAD for lane in self._lanes]

    @cached_property
    def _middles(self) -> list[float]:
        lefts = [2.0 * MARGIN]
        for width in self._lane_widths:
            lefts.append(lefts[-1] + width + LANE_GAP)
        return [left + w / 2 for left, w in zip(lefts, self._lane_widths, strict=False)]

    @cached_property
    def _bands(self) -> dict[int, tuple[float, float]]:
        """Top and bottom of each rank."""
        bands: dict[int, tuple[float, float]] = {}
        y = float(MARGIN)
        for rank in range(max(self._ranks.values()) + 1):
            nodes = [self._diagram.nodes[n] for n, r in self._ranks.items() if r == rank]
            y += (PAD + TITLE) * any(node.box and node.kind == "agent" for node in nodes)
            rows = [b.rows[rank] for lane in self._lanes for b in lane if rank in b.rows]
            height = max((_rows_height(each) for each in rows), default=0)
            bands[rank] = (y, y + height)
            y += height + RANK_GAP
        return bands

    def _place_rows(
        self, rows: Sequence[Sequence[Node]], middle: float, top: float, bottom: float
    ) -> dict[str, Rect]:
        places: dict[str, Rect] = {}
        width = max(map(_row_width, rows))
        y = top + (bottom - top - _rows_height(rows)) / 2
        for row in rows:
            x = middle - width / 2  # all rows keep to the same columns
            for node in row:
                places[node.name] = Rect(x, y, *size(node))
                x += size(node)[0] + GAP
            y += max(size(node)[1] for node in row) + 2 * GAP
        return places


def size(node: Node) -> tuple[float, float]:
    """Give width and height of a node."""
    match node.kind:
        case "agent":
            return 176, 62 if node.call or node.missing else 46
        case "hub":
            return 104, 28
        case _:
            return max(64, 9 * len(node.label) + 24), 30


def _row_width(row: Sequence[Node]) -> float:
    return sum(size(node)[0] for node in row) + GAP * (len(row) - 1)


def _rows_height(rows: Sequence[Sequence[Node]]) -> float:
    return sum(max(size(node)[1] for node in row) for row in rows) + 2 * GAP * (len(rows) - 1)


def _ranks(diagram: Diagram) -> dict[str, int]:
    """Put each node below all that lead to it; edges that lead back do not count."""
    targets: dict[str, list[str]] = defaultdict(list)
    for source, target in diagram.edges:
        targets[source].append(target)
    order: list[str] = []
    state: dict[str, bool] = {}  # False while its descendants are visited
    forward: list[Edge] = []

    def visit(name: str) -> None:
        state[name] = False
        for target in targets[name]:
            if target not in state:
                visit(target)
            if state[target]:
                forward.append((name, target))
        state[name] = True
        order.append(name)

    for name in diagram.nodes:
        if name not in state:
            visit(name)
    ranks = dict.fromkeys(diagram.nodes, 0)
    place = {name: number for number, name in enumerate(reversed(order))}
    for source, target in sorted(forward, key=lambda edge: place[edge[0]]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    return ranks


def _blocks(diagram: Diagram, ranks: Mapping[str, int]) -> list[Block]:
    members: dict[str, dict[int, list[Node]]] = defaultdict(lambda: defaultdict(list))
    for name, node in diagram.nodes.items():
        key = f"node {name}" if node.host is None else f"mixture {node.host}"
        members[key][ranks[name]].append(node)
    targets: dict[str, list[int]] = defaultdict(list)
    for source, target in diagram.edges:
        targets[source].append(ranks[target] - 1)
    return [
        Block({rank: _wrapped(nodes) for rank, nodes in rows.items()}, _last(rows, targets))
        for rows in members.values()
    ]


def _last(rows: Mapping[int, Sequence[Node]], targets: Mapping[str, Sequence[int]]) -> int:
    """Find how far down a block needs its lane, which its only edge may pass."""
    ends = (targets[node.name] for nodes in rows.values() for node in nodes)
    return max(*rows, *(end[0] for end in ends if len(end) == 1), -1)


def _wrapped(nodes: Sequence[Node]) -> list[Sequence[Node]]:
    """Break a long row into rows of about the same length, the last one the shortest."""
    width = ceil(len(nodes) / ceil(len(nodes) / COLUMNS))
    return [nodes[start : start + width] for start in range(0, len(nodes), width)]


def _lanes(blocks: Sequence[Block]) -> list[list[Block]]:
    """Give each block the first lane in which it has nobody beside it; long ones go first."""
    lanes: list[list[Block]] = []
    for block in sorted(blocks, key=lambda block: min(block.rows) - max(block.rows)):
        free = (lane for lane in lanes if not any(block.meets(other) for other in lane))
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(block)
    return lanes


def _around(rects: Sequence[Rect]) -> Rect:
    left, top = min(r.x for r in rects) - PAD, min(r.y for r in rects) - PAD - TITLE
    right, bottom = max(r.right for r in rects) + PAD, max(r.bottom for r in rects) + PAD
    return Rect(left, top, right - left, bottom - top)


def _line(points: Sequence[Point], first: str = "M") -> str:
    words = (f"{'L' if number else first}{x:g} {y:g}" for number, (x, y) in enumerate(points))
    return " ".join(words)


def _curve(start: Point, end: Point) -> str:
    half = (start[1] + end[1]) / 2
    return f"C{start[0]:g} {half:g} {end[0]:g} {half:g} {end[0]:g} {end[1]:g}"
