"""A comparison, written up: one page without scripts, and its figures as files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from moa_graph.evals.data import read_table
from moa_graph.evals.manifest import versions
from moa_graph.evals.report import cells
from moa_graph.evals.report.figures import TITLES, draw_section, stem
from moa_graph.evals.report.results import (
    Account,
    Section,
    find_folders,
    read_account,
    read_sections,
)
from moa_graph.evals.report.style import Picture
from moa_graph.evals.results_file import write_text
from moa_graph.evals.scoring import Gamed, load_gamed

PAGE = "index.html"
TABLES = {"alpaca_eval": "table_2a", "mt_bench": "table_2b"}
"""Where the paper has figures of a benchmark."""
OF_ANALYSES = {
    "proposers": ("table_3",),
    "roles": ("table_4",),
    "collaborativeness": ("table_4",),
    "depth": ("figure_4a",),
    "ranker": ("figure_4a",),
}
"""Where it has those of an analysis, all on AlpacaEval."""


@dataclass(frozen=True)
class Part:
    """A benchmark, ready for the page."""

    section: Section
    pictures: Mapping[str, Picture]
    """By the last part of their names."""
    published: Mapping[str, Any] | None
    """The paper's table of this benchmark."""
    beside: Mapping[str, Mapping[str, Any]]
    """Its rows, by the name of our system."""


def write_report(
    out: str | Path, to: str | Path | None = None, *, gamed: Gamed | str | None = None
) -> Path:
    """Write a comparison up.

    Args:
        out: The folder of the comparison.
        to: The folder of the report; by default `out/report`. Beside the page it has each figure
            as PNG and SVG.
        gamed: As in `score`; by default what the plan names, or what `load_gamed` finds.

    Returns:
        The page: one file, which loads nothing and runs nothing.

    Raises:
        ValueError: If nothing is judged, or it cannot be read.
    """
    out = Path(out)
    folder, account = Path(to) if to else out / "report", read_account(out)
    folders, others = find_folders(out, account)
    named = Path(account.gamed_baselines) if account.gamed_baselines else None
    table = load_gamed(folders, named) if gamed is None else gamed
    parts = [_part(section, account) for section in read_sections(folders, account, table)]
    if not any(part.section.measured for part in parts):
        raise ValueError(f"{out}: no judgement succeeded of the systems of the comparison")
    folder.mkdir(parents=True, exist_ok=True)
    for picture in (each for part in parts for each in part.pictures.values()):
        (folder / f"{picture.name}.png").write_bytes(picture.png)
        write_text(folder / f"{picture.name}.svg", picture.svg)
    left_out = [str(each.relative_to(out)) for each in others]
    write_text(folder / PAGE, _render(parts, account, left_out))
    return folder / PAGE


def _part(section: Section, account: Account) -> Part:
    published = read_table("published").get(TABLES.get(section.benchmark, ""))
    rows = {row["system"]: row for row in (published or {"rows": []})["rows"]}
    pictures = {
        picture.name.removeprefix(f"{section.benchmark}-"): picture
        for picture in draw_section(section)
    }
    beside = {ours: rows[name] for ours, name in account.published.items() if name in rows}
    return Part(section, pictures, published, beside)


def _render(parts: Sequence[Part], account: Account, left_out: Sequence[str]) -> str:
    loader = FileSystemLoader(Path(__file__).parent)
    page = Environment(loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True)
    page.filters |= {"stem": stem, "groups": cells.groups}
    page.globals |= {"cells": cells, "titles": TITLES, "of_analyses": OF_ANALYSES}
    return page.get_template("page.html").render(
        parts=parts,
        account=account,
        left_out=left_out,
        paper=read_table("published"),
        versions=versions(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )
