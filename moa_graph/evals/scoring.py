"""Compute the figures of a benchmark, their intervals and comparisons from judgements."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from moa_graph.evals.benchmarks.alpaca_eval.baselines import LengthControlBaselines
from moa_graph.evals.benchmarks.alpaca_eval.benchmark import AlpacaEvalScore
from moa_graph.evals.benchmarks.formatting import format_interval
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.intervals import mean_interval
from moa_graph.evals.judging.setup import SystemAnswers, list_judge_folders, read_answers
from moa_graph.evals.results_file import JUDGEMENTS_FILE, JUDGING_MANIFEST, JsonRow
from moa_graph.evals.statistics import Comparison, compare, correct_for_multiple
from moa_graph.models.recorded import read_json_rows

_PACKAGES = ("moa_graph", "numpy", "scikit-learn", "scipy")  # packages that compute figures


class QualityInterval(NamedTuple):
    """The quality of a system on the benchmark's own scale, with its 95 % interval.

    Without an interval, as for a single instruction, both ends are the value.
    """

    value: float
    low: float
    high: float


def format_quality(value: QualityInterval) -> str:
    """Format the quality, with its interval if there is one."""
    places = 1 if value.high > 10 else 2  # noqa: PLR2004  # percent, or grades
    return format_interval(*value, places)


@dataclass(frozen=True)
class SystemScore:
    """The figures of a system, and their source."""

    system: str
    benchmark: str
    figures: Any
    """The figures, in a dataclass of the benchmark."""
    labels: tuple[str, ...]
    """Labels that must accompany the figures."""
    manifest: Mapping[str, Any]
    """Manifest of the judging: judge, prompts, data, versions, date."""
    by_instruction: Mapping[str | int, float]
    """Score of each instruction: points of a win rate, a mean rating (1 to 10) or score (1-5)."""
    headline_by_instruction: Mapping[str | int, float] = field(default_factory=dict)
    """Contribution of each instruction to the headline; empty if there is none."""
    baselines: LengthControlBaselines | None = None
    """Source of the gamed baselines for the length control."""
    judged: Sequence[JsonRow] = field(default=(), repr=False)
    """The successful judgements."""
    answer_lengths: Mapping[str | int, int] = field(default_factory=dict, repr=False)
    """Characters of the answers by instruction."""

    @property
    def judge(self) -> str:
        """The judge: `provider:model`."""
        return str(self.manifest["judge"]["model"])

    @property
    def protocol(self) -> Benchmark:
        """The benchmark."""
        return benchmark_for(self.benchmark, self.judge)

    @property
    def has_headline(self) -> bool:
        """Whether a headline represents the quality instead of the mean over instructions."""
        return self.protocol.headline(self.figures) is not None

    def estimate_quality(self, *, is_headline: bool) -> "QualityInterval":
        """Return the quality: the headline, or the mean over instructions."""
        benchmark = self.protocol
        headline = benchmark.headline(self.figures) if is_headline else None
        if headline is None:
            values, bounds = list(self.by_instruction.values()), benchmark.score_bounds
            return _quality_interval(fmean(values), mean_interval(values, bounds))
        contributions = list(self.headline_by_instruction.values())
        interval = mean_interval(contributions) if contributions else None
        return _quality_interval(headline, interval, benchmark.score_bounds)

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        keys = ("source", "sha256", "is_published")
        table = {key: getattr(self.baselines, key) for key in keys} if self.baselines else None
        quality = self.estimate_quality(is_headline=self.has_headline)
        return {
            "system": self.system,
            "benchmark": self.benchmark,
            "labels": list(self.labels),
            "figures": asdict(self.figures, dict_factory=_without_columns),
            "quality": {"metric": name_metric([self]), **quality._asdict()},
            "gamed_baselines": table,
            "judging": dict(self.manifest),
            "versions": {package: version(package) for package in _PACKAGES},
        }


@dataclass(frozen=True)
class MissingScore:
    """A system without figures, because no judgement succeeded."""

    system: str
    benchmark: str
    labels: tuple[str, ...]
    manifest: Mapping[str, Any]

    @property
    def protocol(self) -> Benchmark:
        """The benchmark."""
        return benchmark_for(self.benchmark, str(self.manifest["judge"]["model"]))

    @property
    def reason(self) -> str:
        """Why there is no score."""
        items = self.manifest["items"]
        failed, wanted = items["failed"], items["judgements_wanted"]
        judged = f", {failed:,} of {wanted:,} judgements failed" if failed else ""
        if wanted and not failed:
            judged = f", none of {wanted:,} judgements was made"
        return f"no score: {items['answered']:,} of {items['in_the_benchmark']:,} answered{judged}"

    def as_dict(self) -> dict[str, Any]:
        """Return it as plain data, as `SystemScore.as_dict` does."""
        return {
            "system": self.system,
            "benchmark": self.benchmark,
            "labels": [*self.labels, self.reason],
            "figures": None,
            "judging": dict(self.manifest),
        }


def score_system(
    folder: Path, baselines: LengthControlBaselines | str, judge_folder: Path | None = None
) -> SystemScore | MissingScore:
    """Score a system. A missing score is not an error, so that other systems still get theirs.

    Args:
        folder: Folder of its answers.
        baselines: The gamed baselines of AlpacaEval, or why they are missing.
        judge_folder: Folder of the judgements; by default those of the first judge.

    Raises:
        ValueError: If there are no judgements, or the answers have changed since.
    """
    answers = read_answers(folder)
    manifest, rows = _read_judgements(judge_folder or folder, answers)
    benchmark = benchmark_for(manifest["benchmark"], manifest["judge"]["model"])
    common = (manifest["system"], manifest["benchmark"])
    labels = tuple(manifest["labels"])
    judged = [row for row in rows if row["error"] is None]
    by_instruction = benchmark.score_by_instruction(judged)
    if not by_instruction:
        return MissingScore(*common, labels, manifest)
    figures = benchmark.score(rows, manifest, baselines)
    score = SystemScore(
        *common,
        figures,
        (*labels, *benchmark.figure_labels(figures)),
        manifest,
        by_instruction,
        benchmark.headline_by_instruction(figures, rows),
        judged=judged,
        answer_lengths={item: sum(map(len, turns)) for item, turns in answers.by_item.items()},
    )
    if isinstance(figures, AlpacaEvalScore) and figures.length_controlled:
        assert isinstance(baselines, LengthControlBaselines)  # noqa: S101  # else there is no fit
        score = replace(score, baselines=baselines)
    return score


def score_system_by_judge(
    folder: Path, baselines: LengthControlBaselines | str
) -> list[SystemScore | MissingScore]:
    """Score a system by each of its judges, in order.

    Args:
        folder: Folder of its answers.
        baselines: As in `score_system`.

    Raises:
        ValueError: As in `score_system`.
    """
    return [score_system(folder, baselines, each) for each in list_judge_folders(folder)]


def have_headline(scores: Sequence[SystemScore]) -> bool:
    """Return whether all systems have a headline."""
    return bool(scores) and all(each.has_headline for each in scores)


def average_quality(scores: Sequence[SystemScore], *, is_headline: bool) -> QualityInterval | None:
    """Average the scores of a system by several judges or of several runs.

    Args:
        scores: The scores.
        is_headline: Whether to average contributions to the headline, or the scores.

    Returns:
        The mean over common instructions, with its interval; `None` if there are none.
    """
    means = average_by_instruction(scores, is_headline=is_headline)
    if not means:
        return None
    values, bounds = list(means.values()), scores[0].protocol.score_bounds
    if is_headline:
        return _quality_interval(fmean(values), mean_interval(values), bounds)
    return _quality_interval(fmean(values), mean_interval(values, bounds))


def average_by_instruction(
    scores: Sequence[SystemScore], *, is_headline: bool
) -> dict[str | int, float]:
    """Return mean scores by instruction, over common instructions, as in `average_quality`."""
    columns = [
        each.headline_by_instruction if is_headline else each.by_instruction for each in scores
    ]
    shared = [item for item in columns[0] if all(item in column for column in columns)]
    return {item: fmean(column[item] for column in columns) for item in shared}


def name_metric(scores: Sequence[SystemScore]) -> str:
    """Return the name of the quality metric of a benchmark."""
    benchmark = scores[0].protocol
    if have_headline(scores):
        return benchmark.headline_metric(scores[0].figures)
    return benchmark.metric(is_headline=False)


def compare_systems(
    first: SystemScore, second: SystemScore, *, is_headline: bool = False
) -> Comparison:
    """Compare two systems on the instructions with scores of both.

    Args:
        first: A system.
        second: Another system.
        is_headline: Whether to compare by the headline, or by the mean over instructions.

    Raises:
        ValueError: If they were judged differently, or share fewer than 2 instructions.
    """
    for key in ("benchmark", "judge", "reads", "compared_with"):
        if _comparable_part(first, key) != _comparable_part(second, key):
            raise ValueError(
                f"{first.system} and {second.system} cannot be compared: they differ in {key!r}"
            )
    if first.manifest["data"]["sha256"] != second.manifest["data"]["sha256"]:
        raise ValueError(f"{first.system} and {second.system} answered different data")
    names = (first.system, second.system)
    bounds = None if is_headline else first.protocol.score_bounds
    if is_headline:
        metric = first.protocol.headline_metric(first.figures)
        scores = (first.headline_by_instruction, second.headline_by_instruction)
    else:
        metric = first.protocol.metric(is_headline=False)
        scores = (first.by_instruction, second.by_instruction)
    return compare(*scores, names=names, metric=metric, bounds=bounds)


def _comparable_part(score: SystemScore, key: str) -> Any:
    """Return a part of the manifest; for files, their content without their location."""
    part = score.manifest[key]
    if key != "reads":
        return part
    files = {name: (file["kind"], file["sha256"]) for name, file in part.items()}
    return {
        name: kind if kind == "published" else (kind, sha) for name, (kind, sha) in files.items()
    }


def is_clearly_better(
    first: Sequence[SystemScore], second: Sequence[SystemScore], *, is_headline: bool
) -> bool:
    """Return whether a system is better beyond the noise, by the interval of their differences.

    Args:
        first: Scores of all runs of a system.
        second: Scores of all runs of another system.
        is_headline: As in `average_by_instruction`.
    """
    scores = [average_by_instruction(each, is_headline=is_headline) for each in (first, second)]
    shared = scores[0].keys() & scores[1].keys()
    differences = [scores[0][each] - scores[1][each] for each in sorted(shared, key=str)]
    interval = mean_interval(differences) if differences else None
    return interval is not None and interval[0] > 0


def compare_all(
    pairs: Iterable[tuple[SystemScore, SystemScore]], *, is_headline: bool
) -> list[Comparison | str]:
    """Compare pairs of systems, corrected for their number.

    Returns:
        For each pair the comparison, or why there is none.
    """
    found = list[Comparison | str]()
    for first, second in pairs:
        try:
            found.append(compare_systems(first, second, is_headline=is_headline))
        except ValueError as error:
            found.append(str(error))
    corrected = iter(correct_for_multiple([each for each in found if not isinstance(each, str)]))
    return [each if isinstance(each, str) else next(corrected) for each in found]


def _quality_interval(
    value: float,
    interval: tuple[float, float] | None,
    bounds: tuple[float, float] | None = None,
) -> QualityInterval:
    low, high = interval or (value, value)
    least, greatest = bounds or (low, high)
    return QualityInterval(value, max(low, least), min(high, greatest))


def _without_columns(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Remove the columns from which figures are computed."""
    return {key: value for key, value in pairs if not isinstance(value, np.ndarray)}


def _read_judgements(folder: Path, answers: SystemAnswers) -> tuple[dict[str, Any], list[JsonRow]]:
    try:
        manifest = json.loads((folder / JUDGING_MANIFEST).read_text(encoding="utf-8"))
        rows = read_json_rows(folder / JUDGEMENTS_FILE)
        judged_sha256 = manifest["answers_sha256"]
    except FileNotFoundError:
        raise ValueError(f"{folder}: not judged yet; run: moa eval judge {folder}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder}: not judgements of moa eval judge: {error}") from None
    if answers.sha256 != judged_sha256:
        raise ValueError(
            f"{folder}: the answers changed since they were judged; run moa eval judge again (what "
            "is the same is not paid for again)"
        )
    return manifest, rows
