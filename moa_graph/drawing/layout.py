"""Layout of a diagram: positions of nodes, boxes and edges in ranks, in pixels.

Each mixture has its own lane; parallel parts of a host graph are in the next lanes. A layer with
many proposers has several rows, and its edges pass between the columns.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil

from moa_graph.drawing.diagram import Diagram, DiagramNode

MAX_COLUMNS = 6
NODE_GAP = 18
RANK_GAP = 40
BOX_PADDING = 14
TITLE_HEIGHT = 22
MARGIN = 24
LANE_GAP = 48

Point = tuple[float, float]
Edge = tuple[str, str]


@dataclass(frozen=True)
class Rect:
    """A rectangle, given by its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def center_x(self) -> float:
        """Horizontal center."""
        return self.x + self.width / 2

    @property
    def bottom(self) -> float:
        """Lower edge."""
        return self.y + self.height

    @property
    def right(self) -> float:
        """Right edge."""
        return self.x + self.width


@dataclass(frozen=True)
class NodeBlock:
    """Nodes that share a lane: a mixture, or a node of its host."""

    rows: Mapping[int, Sequence[Sequence[DiagramNode]]]
    """Rows of each rank."""
    last_rank: int
    """Last rank of its lane that its outgoing edge needs, where no other block may be."""

    @property
    def width(self) -> float:
        """Width of the drawing."""
        return max(_row_width(row) for rows in self.rows.values() for row in rows)

    def overlaps(self, other: "NodeBlock") -> bool:
        """Return whether two blocks share a rank."""
        return min(self.rows) <= other.last_rank and min(other.rows) <= self.last_rank


class DiagramLayout:
    """Positions of all parts of a diagram."""

    def __init__(self, diagram: Diagram) -> None:
        self._diagram = diagram
        self._ranks = _assign_ranks(diagram)
        self._lanes = _assign_lanes(_build_blocks(diagram, self._ranks))
        self._lane_of = {
            node.name: lane
            for lane, blocks in enumerate(self._lanes)
            for block in blocks
            for rows in block.rows.values()
            for row in rows
            for node in row
        }

    @cached_property
    def node_rects(self) -> dict[str, Rect]:
        """Position of each node."""
        rects: dict[str, Rect] = {}
        for middle, lane in zip(self._lane_centers, self._lanes, strict=True):
            for block in lane:
                for rank, rows in block.rows.items():
                    rects |= self._place_rows(rows, middle, *self._rank_bands[rank])
        return rects

    @cached_property
    def box_rects(self) -> dict[str, Rect]:
        """Position of each box, by title."""
        members: dict[str, list[Rect]] = defaultdict(list)
        for name, node in self._diagram.nodes.items():
            if node.box is not None:
                members[node.box].append(self.node_rects[name])
        return {title: _bounding_box(rects) for title, rects in members.items()}

    @cached_property
    def width(self) -> float:
        """Width of the picture."""
        return sum(self._lane_widths) + LANE_GAP * (len(self._lanes) - 1) + 4 * MARGIN

    @cached_property
    def height(self) -> float:
        """Height of the drawing."""
        return self._rank_bands[max(self._rank_bands)][1] + MARGIN

    def edge_path(self, edge: Edge) -> str:
        """Return an SVG path of an edge that passes behind no other node."""
        source, target = (self.node_rects[name] for name in edge)
        head = [(source.center_x, source.bottom), *self._exit_path(edge[0])]
        tail = [*self._entry_path(edge[1]), (target.center_x, target.y)]
        if (x := self._detour_x(edge)) is not None:
            below, above = head[-1][1] + RANK_GAP * 0.8, tail[0][1] - RANK_GAP * 0.8
            down, up = _path_curve(head[-1], (x, below)), _path_curve((x, above), tail[0])
            detour = f"{down} L{x:g} {above:g} {up}"
            return f"{_path_line(head)} {detour} {_path_line(tail[1:], 'L')}".strip()
        curve = _path_curve(head[-1], tail[0])
        return f"{_path_line(head)} {curve} {_path_line(tail[1:], 'L')}".strip()

    def is_back_edge(self, edge: Edge) -> bool:
        """Return whether an edge leads to a node above or beside its source."""
        return self._ranks[edge[1]] <= self._ranks[edge[0]]

    def _exit_path(self, name: str) -> list[Point]:
        """Return the start of an edge, between the columns of lower rows."""
        rect, (_, bottom) = self.node_rects[name], self._rank_bands[self._ranks[name]]
        if all(other.y <= rect.bottom for other in self._rank_neighbors(name)):
            return []
        x, y = rect.right + NODE_GAP / 3, rect.bottom + NODE_GAP / 2
        return [(rect.center_x, y), (x, y), (x, bottom)]

    def _entry_path(self, name: str) -> list[Point]:
        """Return the end of an edge, between the columns of upper rows."""
        rect, (top, _) = self.node_rects[name], self._rank_bands[self._ranks[name]]
        if all(other.bottom >= rect.y for other in self._rank_neighbors(name)):
            return []
        x, y = rect.x - NODE_GAP / 3, rect.y - NODE_GAP / 2
        return [(x, top), (x, y), (rect.center_x, y)]

    def _rank_neighbors(self, name: str) -> Iterator[Rect]:
        """Return the positions of the nodes in the same rank and lane."""
        for other, rank in self._ranks.items():
            if rank == self._ranks[name] and self._lane_of[other] == self._lane_of[name]:
                yield self.node_rects[other]

    def _detour_x(self, edge: Edge) -> float | None:
        """Return where an edge passes the nodes between its ends."""
        (first, last), lanes = (self._ranks[n] for n in edge), [self._lane_of[n] for n in edge]
        between = {self._lane_of[name] for name, rank in self._ranks.items() if first < rank < last}
        if self.is_back_edge(edge):
            return MARGIN / 2
        if last - first == 1 or lanes[0] == lanes[1] not in between:
            return None
        if lanes[0] == lanes[1]:
            return MARGIN / 2
        return self.node_rects[edge[lanes[1] > lanes[0]]].center_x

    @cached_property
    def _lane_widths(self) -> list[float]:
        return [max(block.width for block in lane) + 2 * BOX_PADDING for lane in self._lanes]

    @cached_property
    def _lane_centers(self) -> list[float]:
        lefts = [2.0 * MARGIN]
        for width in self._lane_widths:
            lefts.append(lefts[-1] + width + LANE_GAP)
        return [left + w / 2 for left, w in zip(lefts, self._lane_widths, strict=False)]

    @cached_property
    def _rank_bands(self) -> dict[int, tuple[float, float]]:
        """Return top and bottom of each rank."""
        bands: dict[int, tuple[float, float]] = {}
        y = float(MARGIN)
        for rank in range(max(self._ranks.values()) + 1):
            nodes = [self._diagram.nodes[n] for n, r in self._ranks.items() if r == rank]
            y += (BOX_PADDING + TITLE_HEIGHT) * any(
                node.box and node.kind == "agent" for node in nodes
            )
            rows = [b.rows[rank] for lane in self._lanes for b in lane if rank in b.rows]
            height = max((_rows_height(each) for each in rows), default=0)
            bands[rank] = (y, y + height)
            y += height + RANK_GAP
        return bands

    def _place_rows(
        self, rows: Sequence[Sequence[DiagramNode]], middle: float, top: float, bottom: float
    ) -> dict[str, Rect]:
        rects: dict[str, Rect] = {}
        width = max(map(_row_width, rows))
        y = top + (bottom - top - _rows_height(rows)) / 2
        for row in rows:
            x = middle - width / 2  # all rows use the same columns
            for node in row:
                rects[node.name] = Rect(x, y, *node_size(node))
                x += node_size(node)[0] + NODE_GAP
            y += max(node_size(node)[1] for node in row) + 2 * NODE_GAP
        return rects


def node_size(node: DiagramNode) -> tuple[float, float]:
    """Return width and height of a node."""
    match node.kind:
        case "agent":
            return 188, 62 if node.call or node.missing_reason else 46
        case "layer_aggregator":
            return 120, 28
        case _:
            return max(64, 9 * len(node.label) + 24), 30


def _row_width(row: Sequence[DiagramNode]) -> float:
    return sum(node_size(node)[0] for node in row) + NODE_GAP * (len(row) - 1)


def _rows_height(rows: Sequence[Sequence[DiagramNode]]) -> float:
    return sum(max(node_size(node)[1] for node in row) for row in rows) + 2 * NODE_GAP * (
        len(rows) - 1
    )


def _assign_ranks(diagram: Diagram) -> dict[str, int]:
    """Assign each node a rank below its predecessors; back edges do not count."""
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
    position = {name: number for number, name in enumerate(reversed(order))}
    for source, target in sorted(forward, key=lambda edge: position[edge[0]]):
        ranks[target] = max(ranks[target], ranks[source] + 1)
    return ranks


def _build_blocks(diagram: Diagram, ranks: Mapping[str, int]) -> list[NodeBlock]:
    members: dict[str, dict[int, list[DiagramNode]]] = defaultdict(lambda: defaultdict(list))
    for name, node in diagram.nodes.items():
        key = f"node {name}" if node.host is None else f"mixture {node.host}"
        members[key][ranks[name]].append(node)
    targets: dict[str, list[int]] = defaultdict(list)
    for source, target in diagram.edges:
        targets[source].append(ranks[target] - 1)
    return [
        NodeBlock(
            {rank: _wrap_row(nodes) for rank, nodes in rows.items()}, _find_last_rank(rows, targets)
        )
        for rows in members.values()
    ]


def _find_last_rank(
    rows: Mapping[int, Sequence[DiagramNode]], targets: Mapping[str, Sequence[int]]
) -> int:
    """Return the last rank for which a block needs its lane, for its only edge."""
    ends = (targets[node.name] for nodes in rows.values() for node in nodes)
    return max(*rows, *(end[0] for end in ends if len(end) == 1), -1)


def _wrap_row(nodes: Sequence[DiagramNode]) -> list[Sequence[DiagramNode]]:
    """Split a long row into rows of similar length, the last one shortest."""
    width = ceil(len(nodes) / ceil(len(nodes) / MAX_COLUMNS))
    return [nodes[start : start + width] for start in range(0, len(nodes), width)]


def _assign_lanes(blocks: Sequence[NodeBlock]) -> list[list[NodeBlock]]:
    """Assign each block the first free lane; long blocks first."""
    lanes: list[list[NodeBlock]] = []
    for block in sorted(blocks, key=lambda block: min(block.rows) - max(block.rows)):
        free = (lane for lane in lanes if not any(block.overlaps(other) for other in lane))
        lane = next(free, None)
        if lane is None:
            lanes.append(lane := [])
        lane.append(block)
    return lanes


def _bounding_box(rects: Sequence[Rect]) -> Rect:
    left, top = (
        min(r.x for r in rects) - BOX_PADDING,
        min(r.y for r in rects) - BOX_PADDING - TITLE_HEIGHT,
    )
    right, bottom = (
        max(r.right for r in rects) + BOX_PADDING,
        max(r.bottom for r in rects) + BOX_PADDING,
    )
    return Rect(left, top, right - left, bottom - top)


def _path_line(points: Sequence[Point], first: str = "M") -> str:
    commands = (f"{'L' if number else first}{x:g} {y:g}" for number, (x, y) in enumerate(points))
    return " ".join(commands)


def _path_curve(start: Point, end: Point) -> str:
    half = (start[1] + end[1]) / 2
    return f"C{start[0]:g} {half:g} {end[0]:g} {half:g} {end[0]:g} {end[1]:g}"
