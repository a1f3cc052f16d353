"""The report of a comparison: an HTML page without scripts, and its figures as files."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Any

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmarks.alpaca_eval.baselines import (
    LengthControlBaselines,
    find_baselines,
)
from moa_graph.evals.curve import Curve, replay
from moa_graph.evals.data import read_table
from moa_graph.evals.manifest import package_versions
from moa_graph.evals.panel_tables import PanelTable, list_panel_tables
from moa_graph.evals.report import cells
from moa_graph.evals.report.comparison_info import (
    ComparisonInfo,
    find_judged_folders,
    read_comparison_info,
)
from moa_graph.evals.report.curve_figure import describe, draw_curve, format_threshold
from moa_graph.evals.report.figures import TITLES, draw_section, file_stem
from moa_graph.evals.report.results import read_sections
from moa_graph.evals.report.section import ReportSection
from moa_graph.evals.report.style import RenderedFigure
from moa_graph.evals.scoring import format_quality
from moa_graph.styles.documents import load_templates

PAGE_FILE = "index.html"
STYLES = ("tokens", "text", "document", "evals")
"""The style sheets of the page, the later ones over the earlier ones."""
JUDGES_FILE = "judges.json"
"""Name of the file with agreement, position bias and length bias of the judges."""
ANALYSIS_TABLES = {
    "proposers": ("table_3",),
    "roles": ("table_4",),
    "collaborativeness": ("table_4",),
    "depth": ("figure_4a",),
    "ranker": ("figure_4a",),
    "equal_cost": (),
    "leave_one_out": (),
    "early_stop": (),
}
"""Tables of the paper with analyses, all on AlpacaEval."""


@dataclass(frozen=True)
class PagePart:
    """The data of a benchmark for the page."""

    section: ReportSection
    pictures: Mapping[str, RenderedFigure]
    """Figures, by the last part of their names."""
    published: Mapping[str, Any] | None
    """The paper's table for this benchmark."""
    published_rows: Mapping[str, Mapping[str, Any]]
    """Rows of the paper's table, by name of the system here."""
    panel_tables: Sequence[PanelTable]
    """Tables of several judges."""
    curves: Sequence[Curve]
    """Curves of early stops of mixtures, if enough is stored."""


def write_report(
    out: str | Path,
    to: str | Path | None = None,
    *,
    baselines: LengthControlBaselines | str | None = None,
) -> Path:
    """Write the report of a comparison.

    Args:
        out: The folder of the comparison.
        to: The folder of the report; by default `out/report`. It also gets each figure as PNG and
            SVG.
        baselines: As in `score`; by default those of the plan, or the result of `find_baselines`.

    Returns:
        The page: one file without external resources or scripts.

    Raises:
        ValueError: If there are no judgements, or they cannot be read.
    """
    out = Path(out)
    folder, comparison = Path(to) if to else out / "report", read_comparison_info(out)
    folders, others = find_judged_folders(out, comparison)
    baselines_path = Path(comparison.gamed_baselines) if comparison.gamed_baselines else None
    table = find_baselines(folders, baselines_path) if baselines is None else baselines
    parts = [
        _build_part(section, comparison, out)
        for section in read_sections(folders, comparison, table)
    ]
    if not any(part.section.measurements for part in parts):
        raise ValueError(f"{out}: no judgement succeeded of the systems of the comparison")
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (each for part in parts for each in part.pictures.values()):
        (folder / f"{picture.name}.png").write_bytes(picture.png)
        write_text(folder / f"{picture.name}.svg", picture.svg, keep_mode=True)
    left_out = [str(each.relative_to(out)) for each in others]
    write_text(folder / JUDGES_FILE, _format_panels(parts))
    write_text(folder / PAGE_FILE, _render_page(parts, comparison, left_out), keep_mode=True)
    return folder / PAGE_FILE


def _build_part(section: ReportSection, comparison: ComparisonInfo, out: Path) -> PagePart:
    published = read_table("published").get(section.protocol.paper_table or "")
    rows = {row["system"]: row for row in (published or {"rows": []})["rows"]}
    curves = list(_replay_curves(section, out))
    pictures = {
        picture.name.removeprefix(f"{section.benchmark}-"): picture
        for picture in chain(draw_section(section), map(draw_curve, curves))
    }
    published_rows = {
        ours: rows[name] for ours, name in comparison.published.items() if name in rows
    }
    panel = section.panel
    tables = list(list_panel_tables(panel, section.metric)) if panel else []
    return PagePart(section, pictures, published, published_rows, tables, curves)


def _replay_curves(section: ReportSection, out: Path) -> Iterator[Curve]:
    """Replay the proposals of mixtures with enough stored data."""
    for each in section.named:
        with suppress(ValueError):  # a single layer, or missing data
            yield replay(out, section, each)


def _format_panels(parts: Sequence[PagePart]) -> str:
    panels = [
        {"metric": part.section.metric, **part.section.panel.as_dict()}
        for part in parts
        if part.section.panel
    ]
    return json.dumps(panels, indent=2, ensure_ascii=False)


def _describe_comparison(parts: Sequence[PagePart]) -> str:
    """Return the description of the comparison."""
    systems = {each.system for part in parts for each in part.section.named}
    systems |= {each.score.system for part in parts for each in part.section.missing}
    benchmarks = ", ".join(part.section.benchmark for part in parts)
    return f"{len(systems)} system{'s' if len(systems) != 1 else ''} on {benchmarks}"


def _render_page(
    parts: Sequence[PagePart], account: ComparisonInfo, left_out: Sequence[str]
) -> str:
    page = load_templates(Path(__file__).parent / "templates", STYLES)
    page.filters |= {"stem": file_stem, "groups": cells.group_means}
    page.filters["proposer"] = cells.proposer_name
    page.globals |= {"cells": cells, "titles": TITLES, "of_analyses": ANALYSIS_TABLES}
    page.globals |= {"format_quality": format_quality, "format_threshold": format_threshold}
    page.globals["describe_curve"] = describe
    return page.get_template("page.html").render(
        parts=parts,
        title=_describe_comparison(parts),
        account=account,
        left_out=left_out,
        paper=read_table("published"),
        versions=package_versions(),
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
    )
