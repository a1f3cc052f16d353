"""A benchmark for `moa eval` whose answers end with a number."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.protocol import Benchmark, JudgeFileReader
from moa_graph.evals.judging.cases import JudgementCase, JudgingMethod

Rows = Sequence[dict[str, Any]]


class LastNumber(JudgingMethod):
    """Compares the last number of an answer with the expected one, without a model."""

    official_label = "offline:overlap"  # a judge without a key; it is never called

    def automatic_judgement(self, case: JudgementCase) -> dict[str, Any]:
        numbers = re.findall(r"-?\d+", case.answers[0])
        return {"correct": numbers[-1:] == [case.item.row["expected"]]}


@dataclass(frozen=True)
class Accuracy:
    """Percentages of correct answers."""

    correct: float
    categories: Mapping[str, float]


class Arithmetic(Benchmark):
    name = "arithmetic"
    required_keys = ("question", "expected")
    judging_method = LastNumber

    def find_data(self) -> Path:
        return Path(__file__).with_name("questions.jsonl")

    def build_method(
        self, data: BenchmarkData, files: JudgeFileReader, opponent: Mapping[Any, str] | None
    ) -> JudgingMethod:
        return LastNumber()

    def score(self, rows: Rows, judging: Mapping[str, Any], baselines: Any) -> Accuracy:
        points = defaultdict[str, list[float]](list)
        for row in rows:
            if row["error"] is None:
                points[row["category"]].append(100.0 * row["correct"])
        everything = [each for group in points.values() for each in group]
        return Accuracy(fmean(everything), {name: fmean(each) for name, each in points.items()})

    def score_by_instruction(self, judged: Rows) -> dict[str | int, float]:
        return {row["id"]: 100.0 * row["correct"] for row in judged}

    def metric(self, *, is_headline: bool) -> str:
        return "correct, %"

    def report_cells(self, figures: Accuracy) -> dict[str, str]:
        return {"correct %": f"{figures.correct:.1f}"}

    def group_means(self, figures: Accuracy) -> Mapping[str, Mapping[str, float]]:
        return {"category": figures.categories}


ARITHMETIC = Arithmetic()
