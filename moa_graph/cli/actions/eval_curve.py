"""Implementation of `moa eval curve`: quality against cost of early stops."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import typer
from rich.table import Table

from moa_graph.atomic_files import write_text
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.console import print_table
from moa_graph.cli.terminal.plain_text import print_notice, strip_control_characters
from moa_graph.cli.terminal.stacked_rows import stack_if_narrow
from moa_graph.evals.benchmarks.alpaca_eval.baselines import find_baselines
from moa_graph.evals.benchmarks.formatting import format_interval
from moa_graph.evals.curve import Curve, replay
from moa_graph.evals.report.comparison_info import find_judged_folders, read_comparison_info
from moa_graph.evals.report.curve_figure import describe, draw_curve, format_threshold
from moa_graph.evals.report.results import read_sections


def print_curves(
    out: Path, system: str | None, benchmark: str | None, to: Path | None, *, as_json: bool
) -> None:
    """Print curves, and write their plots.

    Raises:
        CommandError: If there is no curve.
        ValueError: If there are no judgements, or a curve cannot be computed.
    """
    curves = list(_read_curves(out, system, benchmark))
    if not curves:
        raise CommandError(
            f"{out}: no mixture with several layers is judged in it"
            + (f" as {system!r}" if system else "")
            + (f" on {benchmark!r}" if benchmark else "")
        )
    folder = to or out / "report"
    folder.mkdir(parents=True, exist_ok=True)
    for each in curves:
        picture = draw_curve(each)
        (folder / f"{picture.name}.png").write_bytes(picture.png)
        write_text(folder / f"{picture.name}.svg", picture.svg, keep_mode=True)
        if not as_json:
            _print_curve(each)
            typer.echo(folder / f"{picture.name}.png")
    if as_json:
        typer.echo(json.dumps([_curve_dict(each) for each in curves], ensure_ascii=False, indent=2))


def _read_curves(out: Path, system: str | None, benchmark: str | None) -> Iterator[Curve]:
    comparison = read_comparison_info(out)
    folders, _ = find_judged_folders(out, comparison)
    table = Path(comparison.gamed_baselines) if comparison.gamed_baselines else None
    for section in read_sections(folders, comparison, find_baselines(folders, table)):
        for each in section.named:
            is_deep = len(each.generation["configuration"]["layers"]) > 1
            wanted = each.system == system if system else is_deep
            if wanted and benchmark in {None, section.benchmark}:
                yield replay(out, section, each)


def _print_curve(curve: Curve) -> None:
    title = strip_control_characters(f"{curve.benchmark}, {curve.system}: {curve.metric}")
    table = Table(title=title, box=None, pad_edge=False, title_justify="left")
    for column in ("agreement from", "stopped %", "layers", "quality", "difference", "cost"):
        table.add_column(column, justify="right")
    for point in curve.points:
        table.add_row(
            format_threshold(point),
            f"{point.stopped:.0f}",
            f"{point.layers:.2f}",
            format_interval(*point.quality, 1),
            format_interval(*point.difference, 1),
            "unknown" if point.cost is None else f"${point.cost:.3g}",
        )
    print_table(partial(stack_if_narrow, table))
    print_notice(f"note: {describe(curve)}")


def _curve_dict(curve: Curve) -> dict[str, object]:
    points = [
        {
            **asdict(point),
            "quality": point.quality._asdict(),
            "difference": point.difference._asdict(),
        }
        for point in curve.points
    ]
    return {**asdict(curve), "points": points}
