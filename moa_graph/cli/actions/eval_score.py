"""Implementation of `moa eval score`: print scores of systems."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import typer
from rich.table import Table

from moa_graph.cli.actions.eval_judge import find_system_folders
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.console import print_table
from moa_graph.cli.terminal.plain_text import print_notice, strip_control_characters
from moa_graph.cli.terminal.stacked_rows import stack_if_narrow
from moa_graph.evals.benchmarks.alpaca_eval.baselines import find_baselines
from moa_graph.evals.panel import JudgePanel, build_panel
from moa_graph.evals.panel_tables import list_panel_tables
from moa_graph.evals.results_file import JUDGING_MANIFEST
from moa_graph.evals.scoring import (
    MissingScore,
    SystemScore,
    compare_all,
    have_headline,
    name_metric,
    score_system_by_judge,
)
from moa_graph.evals.statistics import Comparison


class SystemGroup(NamedTuple):
    """Systems with scores, and systems without."""

    scored: Sequence[SystemScore]
    unscored: Sequence[MissingScore]

    @classmethod
    def from_systems(cls, systems: Sequence[SystemScore | MissingScore]) -> "SystemGroup":
        """Split systems into those with and those without scores."""
        scored = [each for each in systems if isinstance(each, SystemScore)]
        return cls(scored, [each for each in systems if isinstance(each, MissingScore)])

    @property
    def systems(self) -> list[SystemScore | MissingScore]:
        """All systems."""
        return [*self.scored, *self.unscored]


class MeasuredPanel(NamedTuple):
    """The scores of all judges of a benchmark."""

    judges: JudgePanel
    metric: str
    """Name of the quality metric."""


def print_scores(paths: Sequence[Path], gamed_baselines: Path | None, *, as_json: bool) -> None:
    """Score the systems in folders, and print a table for each benchmark.

    Raises:
        CommandError: If there is nothing to score.
        ValueError: If judgements cannot be read.
    """
    folders = find_system_folders(paths, JUDGING_MANIFEST)
    baselines = find_baselines(folders, gamed_baselines)
    by_judge = [score_system_by_judge(folder, baselines) for folder in folders]
    all_systems = SystemGroup.from_systems([score for scores in by_judge for score in scores])
    if not all_systems.scored:
        causes = (
            f"{each.benchmark}, {each.system}: {each.reason}" for each in all_systems.unscored
        )
        raise CommandError(f"no judgement succeeded: {'; '.join(causes)}")
    groups = list(_group_by_benchmark(by_judge))
    comparisons = [_compare_with_first(group.scored) for group in groups]
    panels = [_build_panel(all_systems, name) for name in _list_benchmarks(all_systems)]
    if as_json:
        systems = [each for group in groups for each in group.systems]
        compared = [
            _comparison_dict(group, each)
            for group, verdicts in zip(groups, comparisons, strict=True)
            for each in verdicts
        ]
        _print_json(systems, compared, [each for each in panels if each])
        return
    for group, verdicts in zip(groups, comparisons, strict=True):
        _print_group(group, verdicts)
    for panel in panels:
        if panel:
            _print_panel(panel)


def _list_benchmarks(all_systems: SystemGroup) -> list[str]:
    return sorted({each.benchmark for each in all_systems.systems})


def _group_by_benchmark(
    by_judge: Sequence[Sequence[SystemScore | MissingScore]],
) -> Iterator[SystemGroup]:
    """Group the systems of a benchmark by their first judge, second judge, and so on."""
    for name in sorted({scores[0].benchmark for scores in by_judge}):
        of_benchmark = [scores for scores in by_judge if scores[0].benchmark == name]
        for number in range(max(map(len, of_benchmark))):
            yield SystemGroup.from_systems(
                [scores[number] for scores in of_benchmark if number < len(scores)]
            )


def _build_panel(all_systems: SystemGroup, benchmark: str) -> MeasuredPanel | None:
    in_benchmark = (each for each in all_systems.scored if each.benchmark == benchmark)
    scores = [each for each in in_benchmark if each.protocol.has_judge]
    return MeasuredPanel(build_panel(scores), name_metric(scores)) if scores else None


def _compare_with_first(group: Sequence[SystemScore]) -> list[Comparison | str]:
    """Compare the first system with each other one."""
    pairs = ((group[0], other) for other in group[1:])
    return compare_all(pairs, is_headline=have_headline(group))


def _print_group(group: SystemGroup, verdicts: Iterable[Comparison | str]) -> None:
    print_table(partial(stack_if_narrow, _build_table(group)))
    for note in _collect_notes(group.systems):
        print_notice(f"note: {strip_control_characters(note)}")
    for line in dict.fromkeys(_describe_verdict(group.scored[0], each) for each in verdicts):
        print_notice(strip_control_characters(line))
    typer.echo()


def _describe_verdict(first: SystemScore, verdict: Comparison | str) -> str:
    if isinstance(verdict, str):
        return f"not compared: {verdict}"
    by = f"judge {first.judge}" if first.protocol.has_judge else first.judge
    return f"{by}: {verdict.verdict}"


def _print_panel(panel: MeasuredPanel) -> None:
    benchmark = strip_control_characters(panel.judges.benchmark)
    tables = list(list_panel_tables(panel.judges, panel.metric))
    for each in tables:
        title = f"{benchmark}: {each.title}"
        table = Table(title=title, box=None, pad_edge=False, title_justify="left")
        for number, column in enumerate(each.columns):
            is_text = number < each.text_columns
            name = strip_control_characters(column)
            table.add_column(name, justify="left" if is_text else "right", overflow="fold")
        for row in each.rows:
            table.add_row(*map(strip_control_characters, row))
        print_table(partial(stack_if_narrow, table))
        typer.echo()
    for note in panel.judges.notes:
        typer.echo(f"note: {note}")
    typer.echo()


def _collect_notes(systems: Sequence[SystemScore | MissingScore]) -> Iterator[str]:
    """Return each note once, with the names of its systems if it is not about all."""
    systems_by_note = defaultdict[str, list[str]](list)
    for each in systems:
        for note in (*each.labels, *_missing_results(each)):
            systems_by_note[note].append(each.system)
    for note, names in systems_by_note.items():
        yield note if len(names) == len(systems) else f"{', '.join(names)}: {note}"


def _missing_results(each: SystemScore | MissingScore) -> Iterator[str]:
    if isinstance(each, MissingScore):
        yield each.reason
        return
    missing = each.protocol.missing_figures(each.figures)
    yield from (f"{figure} unavailable: {reason}" for figure, reason in missing.items())


def _build_table(group: SystemGroup) -> Table:
    """Build a table of figures; the longer of figures and systems are the rows."""
    lines = [(each, *map(strip_control_characters, cells)) for each, *cells in _list_lines(group)]
    if len(group.systems) >= len(lines) and not any("" in cells for cells in lines):
        lines = list(zip(*lines, strict=True))
    first, *headings = lines[0]
    table = Table(first, box=None, pad_edge=False, title_justify="left")
    for heading in headings:
        table.add_column(heading, justify="right")
    for cells in lines[1:]:
        table.add_row(*cells)
    if group.scored:
        table.caption = f"The interval belongs to: {name_metric(group.scored)}"
        table.caption_justify = "left"
    return table


def _list_lines(group: SystemGroup) -> Iterator[tuple[str, ...]]:
    """Return the names of the systems, and each figure with its value for each system."""
    systems = group.systems
    yield (strip_control_characters(systems[0].benchmark), *(each.system for each in systems))
    yield ("judge", *(each.manifest["judge"]["model"] for each in systems))
    yield ("judged", *map(_format_judged, systems))
    for name, cells in systems[0].protocol.score_table([each.figures for each in group.scored]):
        gap = "" if "" in cells else "-"  # a title row has no figures
        yield (name, *cells, *[gap] * len(group.unscored))
    if group.scored:
        yield ("95 % interval", *_format_intervals(group.scored), *["-"] * len(group.unscored))


def _format_intervals(scores: Sequence[SystemScore]) -> list[str]:
    is_headline = have_headline(scores)
    qualities = [each.estimate_quality(is_headline=is_headline) for each in scores]
    return ["-" if q.low == q.high else f"{q.low:.3g} to {q.high:.3g}" for q in qualities]


def _format_judged(each: SystemScore | MissingScore) -> str:
    if isinstance(each, MissingScore):
        return "no score"
    items = each.manifest["items"]
    partial = "" if each.manifest["whole"] else " (partial)"
    return f"{items['judged']:,}{partial}"


def _comparison_dict(group: SystemGroup, comparison: Comparison | str) -> dict[str, Any]:
    """Return a comparison as plain data, or why there is none."""
    first = group.scored[0]
    context = {"benchmark": first.benchmark, "judge": first.judge}
    if isinstance(comparison, str):
        return {**context, "verdict": comparison}
    figures = {"better": comparison.better, "verdict": comparison.verdict}
    return {**context, **asdict(comparison), **figures}


def _print_json(
    systems: Sequence[SystemScore | MissingScore],
    comparisons: Sequence[Mapping[str, Any]],
    panels: Sequence[MeasuredPanel],
) -> None:
    document = {
        "systems": [each.as_dict() for each in systems],
        "comparisons": comparisons,
        "judges": [{"metric": each.metric, **each.judges.as_dict()} for each in panels],
    }
    typer.echo(json.dumps(_replace_nan(document), ensure_ascii=False, indent=2))


def _replace_nan(value: Any) -> Any:
    """Replace NaN, which JSON does not support."""
    if isinstance(value, Mapping):
        return {key: _replace_nan(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_replace_nan(each) for each in value]
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124
