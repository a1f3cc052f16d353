"""The base class of benchmarks with exact answers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.exact.judge import ExactMethod
from moa_graph.evals.benchmarks.formatting import format_number
from moa_graph.evals.benchmarks.protocol import Benchmark, JudgeFileReader
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.results_file import JsonRow
from moa_graph.evals.scorers.table import SCORER_PREFIX, find_scorer


@dataclass(frozen=True)
class Accuracy:
    """Share of correct answers in percent."""

    accuracy: float
    scored: int
    unread: int | None
    """Number of answers without a final answer, which count as wrong; `None` if the scorer
    extracts none."""
    parts: float | None
    """Share of correct parts, such as the instructions of IFEval."""
    categories: Mapping[str, float]
    by_part: Mapping[str, float]
    """The share by kind of part, if there are several."""


class ExactBenchmark(Benchmark):
    """A benchmark whose answers are right or wrong, according to a scorer."""

    scorer_name: str
    """The scorer."""
    judging_method = ExactMethod
    has_judge = False
    score_bounds = (0, 100)
    judge_prompt_tokens = 0
    judge_reads_reference = False
    typical_turn_bytes = (400,)

    @property
    def official_judge(self) -> str:
        """Label of the scorer."""
        return f"{SCORER_PREFIX}{self.scorer_name}"

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the exact method."""
        return ExactMethod(find_scorer(self.scorer_name))

    def score(
        self,
        rows: Sequence[JsonRow],
        judging: Mapping[str, Any],
        baselines: Any,
    ) -> Accuracy:
        """Return the accuracy, in total, by category and by kind of part."""
        scored = [row for row in rows if row["error"] is None]
        reads_answers = any(row["read"] is not None for row in scored)
        pairs = [pair for row in scored for pair in row.get("parts", {}).items()]
        by_part = _mean_by_name((_part_kind(name), points) for name, points in pairs)
        return Accuracy(
            accuracy=100 * fmean(row["score"] for row in scored),
            scored=len(scored),
            unread=sum(row["read"] is None for row in scored) if reads_answers else None,
            parts=100 * fmean(points for _, points in pairs) if pairs else None,
            categories=_mean_by_name((row["category"], row["score"]) for row in scored),
            by_part=by_part if len(by_part) > 1 else {},
        )

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Return 100 for a correct answer, and 0 for a wrong one."""
        return {row["id"]: 100.0 * row["score"] for row in judged}

    def metric(self, *, is_headline: bool) -> str:
        """Return the name of the accuracy."""
        return "accuracy, %"

    def report_cells(self, figures: Accuracy) -> dict[str, str]:
        """Return further figures of the report."""
        cells = {"accuracy %": format_number(figures.accuracy)}
        if figures.parts is not None:
            cells["parts %"] = format_number(figures.parts)
        if figures.unread is not None:
            cells["no answer found"] = f"{figures.unread:,}"
        return cells

    def group_means(self, figures: Accuracy) -> Mapping[str, Mapping[str, float | None]]:
        """Return the accuracy by category and kind of part."""
        groups = {"category": figures.categories, "part": figures.by_part}
        return {kind: dict(means) for kind, means in groups.items() if means}


class ScoredPrompts(ExactBenchmark):
    """The user's own prompts with their answers."""

    def __init__(self, name: str, scorer_name: str) -> None:
        self.name, self.scorer_name = name, scorer_name


class FileBenchmark(ExactBenchmark):
    """A published benchmark whose file the user provides."""

    source: str
    """Source of the file."""
    published_sha256: Sequence[str] = ()
    """Known hashes of the published files."""
    unpublished_label = (
        "data from a file that is not compared with the published one (its sha256 is in the "
        "manifest); questions asked without examples, in the words of moa_graph"
    )

    def find_data(self) -> Path:
        """Require the file.

        Raises:
            ValueError: Always.
        """
        raise ValueError(
            f"{self.name}: give its file with --data (`data` in a plan): {self.source}"
        )

    def has_published(self, data: BenchmarkData) -> bool:
        """Return whether the hash is known."""
        return data.sha256 in self.published_sha256


def _part_kind(name: str) -> str:
    """Return the kind of a part: its name without a number."""
    number, space, kind = name.partition(" ")
    return kind if space and number.isdigit() else name


def _mean_by_name(pairs: Iterable[tuple[str | None, float]]) -> dict[str, float]:
    values = defaultdict[str, list[float]](list)
    for name, value in pairs:
        if name is not None:
            values[name].append(value)
    return {name: 100 * fmean(each) for name, each in sorted(values.items())}
