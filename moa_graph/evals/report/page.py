"""A comparison, written up: one page without scripts, and its figures as files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmarks.alpaca_eval.baselines import (
    LengthControlBaselines,
    find_baselines,
)
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.data import read_table
from moa_graph.evals.manifest import package_versions
from moa_graph.evals.panel_tables import PanelTable, list_panel_tables
from moa_graph.evals.report import cells
from moa_graph.evals.report.figures import TITLES, draw_section, file_stem
from moa_graph.evals.report.results import (
    ComparisonInfo,
    ReportSection,
    find_judged_folders,
    read_comparison_info,
    read_sections,
)
from moa_graph.evals.report.style import RenderedFigure
from moa_graph.evals.scoring import format_quality

PAGE_FILE = "index.html"
JUDGES_FILE = "judges.json"
"""What the judges say, beside the page: agreement, position, length."""
ANALYSIS_TABLES = {
    "proposers": ("table_3",),
    "roles": ("table_4",),
    "collaborativeness": ("table_4",),
    "depth": ("figure_4a",),
    "ranker": ("figure_4a",),
}
"""Where it has those of an analysis, all on AlpacaEval."""


@dataclass(frozen=True)
class PagePart:
    """A benchmark, ready for the page."""

    section: ReportSection
    pictures: Mapping[str, RenderedFigure]
    """By the last part of their names."""
    published: Mapping[str, Any] | None
    """The paper's table of this benchmark."""
    published_rows: Mapping[str, Mapping[str, Any]]
    """Its rows, by the name of our system."""
    panel_tables: Sequence[PanelTable]
    """What the judges say, and how they lean."""


def write_report(
    out: str | Path,
    to: str | Path | None = None,
    *,
    baselines: LengthControlBaselines | str | None = None,
) -> Path:
    """Write a comparison up.

    Args:
        out: The folder of the comparison.
        to: The folder of the report; by default `out/report`. Beside the page it has each figure
            as PNG and SVG.
        baselines: As in `score`; by default what the plan names, or what `find_baselines` finds.

    Returns:
        The page: one file, which loads nothing and runs nothing.

    Raises:
        ValueError: If nothing is judged, or it cannot be read.
    """
    out = Path(out)
    folder, comparison = Path(to) if to else out / "report", read_comparison_info(out)
    folders, others = find_judged_folders(out, comparison)
    baselines_path = Path(comparison.gamed_baselines) if comparison.gamed_baselines else None
    table = find_baselines(folders, baselines_path) if baselines is None else baselines
    parts = [
        _build_part(section, comparison) for section in read_sections(folders, comparison, table)
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


def _build_part(section: ReportSection, comparison: ComparisonInfo) -> PagePart:
    published = read_table("published").get(benchmark_for(section.benchmark).paper_table or "")
    rows = {row["system"]: row for row in (published or {"rows": []})["rows"]}
    pictures = {
        picture.name.removeprefix(f"{section.benchmark}-"): picture
        for picture in draw_section(section)
    }
    published_rows = {
        ours: rows[name] for ours, name in comparison.published.items() if name in rows
    }
    panel = section.panel
    tables = list(list_panel_tables(panel, section.metric)) if panel else []
    return PagePart(section, pictures, published, published_rows, tables)


def _format_panels(parts: Sequence[PagePart]) -> str:
    panels = [
        {"metric": part.section.metric, **part.section.panel.as_dict()}
        for part in parts
        if part.section.panel
    ]
    return json.dumps(panels, indent=2, ensure_ascii=False)


def _render_page(
    parts: Sequence[PagePart], account: ComparisonInfo, left_out: Sequence[str]
) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"stem": file_stem, "groups": cells.group_means}
    page.globals |= {"cells": cells, "titles": TITLES, "of_analyses": ANALYSIS_TABLES}
    page.globals |= {"format_quality": format_quality}
    return page.get_template("page.html").render(
        parts=parts,
        account=account,
        left_out=left_out,
        paper=read_table("published"),
        versions=package_versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
