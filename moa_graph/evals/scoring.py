"""From the judgements in a folder to the figures of a benchmark, and to what they are worth."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.baselines import LengthControlBaselines
from moa_graph.evals.benchmarks.alpaca_eval.benchmark import AlpacaEvalScore
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.judging.setup import read_answers
from moa_graph.evals.results_file import JUDGEMENTS_FILE, JUDGING_MANIFEST, JsonRow
from moa_graph.evals.statistics import Comparison, compare
from moa_graph.models.recorded import read_json_rows

_PACKAGES = ("moa_graph", "numpy", "scikit-learn", "scipy")  # that figures come from


@dataclass(frozen=True)
class SystemScore:
    """The figures of a system, and where they are from."""

    system: str
    benchmark: str
    figures: Any
    """A dataclass of the benchmark's own."""
    labels: tuple[str, ...]
    """What has to be said wherever they stand."""
    manifest: Mapping[str, Any]
    """Of the judging: judge, prompts, data, versions, date."""
    by_instruction: Mapping[str | int, float]
    """Points of a win rate, a mean rating (1 to 10) or a mean score (1 to 5)."""
    baselines: LengthControlBaselines | None = None
    """What the length control was fitted with."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        table = (
            {"source": self.baselines.source, "sha256": self.baselines.sha256}
            if self.baselines
            else None
        )
        return {
            "system": self.system,
            "benchmark": self.benchmark,
            "labels": list(self.labels),
            "figures": asdict(self.figures),
            "gamed_baselines": table,
            "judging": dict(self.manifest),
            "versions": {package: version(package) for package in _PACKAGES},
        }


@dataclass(frozen=True)
class MissingScore:
    """A system without a figure, because nothing of it could be judged."""

    system: str
    benchmark: str
    labels: tuple[str, ...]
    manifest: Mapping[str, Any]

    @property
    def reason(self) -> str:
        """Why there is none."""
        items = self.manifest["items"]
        failed, wanted = items["failed"], items["judgements_wanted"]
        judged = f", {failed:,} of {wanted:,} judgements failed" if wanted else ""
        return f"no score: {items['answered']:,} of {items['in_the_benchmark']:,} answered{judged}"

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, as `SystemScore.as_dict` does."""
        return {
            "system": self.system,
            "benchmark": self.benchmark,
            "labels": [*self.labels, self.reason],
            "figures": None,
            "judging": dict(self.manifest),
        }


def score_system(
    folder: Path, baselines: LengthControlBaselines | str
) -> SystemScore | MissingScore:
    """Score a system. One without a score is no error, for it keeps no other from its own.

    Args:
        folder: Where its judgements are.
        baselines: The gamed baselines of AlpacaEval, or why they are not to be had.

    Raises:
        ValueError: If there are no judgements, or the answers changed since.
    """
    manifest, rows = _read_judgements(folder)
    benchmark = benchmark_for(manifest["benchmark"])
    common = (manifest["system"], manifest["benchmark"])
    labels = tuple(manifest["labels"])
    by_instruction = benchmark.score_by_instruction([row for row in rows if row["error"] is None])
    if not by_instruction:
        return MissingScore(*common, labels, manifest)
    figures = benchmark.score(rows, manifest, baselines)
    score = SystemScore(*common, figures, labels, manifest, by_instruction)
    if isinstance(figures, AlpacaEvalScore) and figures.length_controlled:
        assert isinstance(baselines, LengthControlBaselines)  # noqa: S101  # else there is no fit
        score = replace(score, baselines=baselines)
    return score


def compare_systems(first: SystemScore, second: SystemScore) -> Comparison:
    """Compare two systems on the instructions that both have a score for.

    Raises:
        ValueError: If they were not judged alike, or share fewer than 2 instructions.
    """
    for key in ("benchmark", "judge", "reads", "compared_with"):
        if first.manifest[key] != second.manifest[key]:
            raise ValueError(
                f"{first.system} and {second.system} cannot be compared: they differ in {key!r}"
            )
    if first.manifest["data"]["sha256"] != second.manifest["data"]["sha256"]:
        raise ValueError(f"{first.system} and {second.system} answered different data")
    names = (first.system, second.system)
    return compare(first.by_instruction, second.by_instruction, names=names)


def _read_judgements(folder: Path) -> tuple[dict[str, Any], list[JsonRow]]:
    try:
        manifest = json.loads((folder / JUDGING_MANIFEST).read_text(encoding="utf-8"))
        rows = read_json_rows(folder / JUDGEMENTS_FILE)
        judged_sha256 = manifest["answers_sha256"]
    except FileNotFoundError:
        raise ValueError(f"{folder}: not judged yet; run: moa eval judge {folder}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder}: not judgements of moa eval judge: {error}") from None
    if read_answers(folder).sha256 != judged_sha256:
        raise ValueError(
            f"{folder}: the answers changed since they were judged; run moa eval judge again (what "
            "is the same is not paid for again)"
        )
    return manifest, rows
