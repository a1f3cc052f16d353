"""From the judgements in a folder to the figures of a benchmark, and to what they are worth."""

import csv
import hashlib
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.score import (
    LengthControlled,
    WinRate,
    length_controlled_win_rate,
    win_rate,
)
from moa_graph.evals.benchmarks.flask.score import FlaskScore, flask_score
from moa_graph.evals.benchmarks.mt_bench.score import MTBenchScore, mt_bench_score
from moa_graph.evals.datasets import PinnedFile, fetch_pinned_file
from moa_graph.evals.judging.account import JUDGEMENTS_FILE, JUDGING_MANIFEST
from moa_graph.evals.judging.setup import read_answers
from moa_graph.evals.results_file import JsonRow
from moa_graph.evals.statistics import Comparison, compare
from moa_graph.models.recorded import read_json_rows

_PACKAGES = ("moa_graph", "numpy", "scikit-learn", "scipy")  # that figures come from
_REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
BASELINES_FILE = PinnedFile(
    f"https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/{_REVISION}/df_gamed.csv",
    _REVISION,
    row_count=0,
    sha256_ends=("97aeec3f", "674d"),
)
"""The gamed baselines. Of its hash only the ends are known here, from the notes of others."""


@dataclass(frozen=True)
class LengthControlBaselines:
    """The gamed baselines, which the length control needs."""

    columns: Mapping[str, Sequence[float]]
    difficulty: Mapping[int, float]
    """Of each instruction, by its place in the benchmark."""
    source: str
    sha256: str


@dataclass(frozen=True)
class AlpacaEvalScore:
    """How often the system is preferred to the reference."""

    win_rate: WinRate
    length_controlled: LengthControlled | None
    unavailable: str | None
    """Why there is no length-controlled win rate; `None` if there is one."""
    mean_length: float
    """Characters of an answer."""


BenchmarkScore = AlpacaEvalScore | MTBenchScore | FlaskScore


@dataclass(frozen=True)
class SystemScore:
    """The figures of a system, and where they are from."""

    system: str
    benchmark: str
    figures: BenchmarkScore
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
    common = (manifest["system"], manifest["benchmark"])
    labels = tuple(manifest["labels"])
    means = _scores_by_instruction(manifest["benchmark"], rows)
    if not means:
        return MissingScore(*common, labels, manifest)
    match manifest["benchmark"]:
        case "mt_bench":
            return SystemScore(*common, _score_mt_bench(rows), labels, manifest, means)
        case "flask":
            return SystemScore(*common, _score_flask(rows), labels, manifest, means)
        case _:
            usable = _usable_baselines(baselines, manifest)
            figures = _score_alpaca_eval(rows, usable)
            used = (
                usable
                if figures.length_controlled and isinstance(usable, LengthControlBaselines)
                else None
            )
            return SystemScore(*common, figures, labels, manifest, means, used)


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


def read_baselines(path: Path | None = None) -> LengthControlBaselines:
    """Read the gamed baselines of AlpacaEval.

    Args:
        path: Where they stand; by default they are downloaded once, at a pinned revision.

    Raises:
        ValueError: If they cannot be had; the message says what to fetch.
    """
    file = path.expanduser() if path else fetch_pinned_file(BASELINES_FILE, "--gamed-baselines")
    try:
        data = file.read_bytes()
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
        names = ("preference", "std_delta_len", "instruction_difficulty")
        columns = {name: [float(row[name]) for row in rows] for name in names}
        indexes = [int(float(row["index"])) for row in rows]
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: expected a table with the columns index, preference, std_delta_len, "
            f"instruction_difficulty: {type(error).__name__}: {error}"
        ) from None
    difficulty = dict[int, float]()
    for index, value in zip(indexes, columns["instruction_difficulty"], strict=True):
        difficulty.setdefault(index, value)  # the first row counts, as in the published code
    source = str(path) if path else BASELINES_FILE.url
    return LengthControlBaselines(columns, difficulty, source, hashlib.sha256(data).hexdigest())


def find_baselines(
    folders: Sequence[Path], path: Path | None = None
) -> LengthControlBaselines | str:
    """Read the gamed baselines where they are of use to one of the folders.

    Returns:
        The baselines, or why they are not to be had.

    Raises:
        ValueError: If `path` cannot be read.
    """
    if path:
        return read_baselines(path)
    manifests = [json.loads((folder / JUDGING_MANIFEST).read_text("utf-8")) for folder in folders]
    if not any(
        each["benchmark"] == "alpaca_eval" and each["data"]["revision"] for each in manifests
    ):
        return "the gamed baselines belong to the published instructions, and these are others"
    try:
        return read_baselines()
    except ValueError as error:
        return f"no gamed baselines: {error}"


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


def _scores_by_instruction(benchmark: str, rows: Sequence[JsonRow]) -> dict[str | int, float]:
    judged = [row for row in rows if row["error"] is None]
    match benchmark:
        case "mt_bench":
            return _mean_by_item(judged, "score")
        case "flask":
            scores = {row["id"]: _present_scores(row["scores"]) for row in judged}
            return {item: fmean(values) for item, values in scores.items() if values}
        case _:
            return {row["id"]: 100 * (row["preference"] - 1) for row in judged}


def _usable_baselines(
    baselines: LengthControlBaselines | str, manifest: Mapping[str, Any]
) -> LengthControlBaselines | str:
    """Tell whether the gamed baselines belong to these judgements."""
    if manifest["compared_with"]:
        return "it is defined against the benchmark's reference only"
    if manifest["benchmark"] != "alpaca_eval":
        return "it is defined for AlpacaEval's instructions only"
    if isinstance(baselines, LengthControlBaselines) and not manifest["data"]["revision"]:
        return "the gamed baselines belong to the published instructions, and these are others"
    return baselines


def _score_alpaca_eval(
    rows: Sequence[JsonRow], baselines: LengthControlBaselines | str
) -> AlpacaEvalScore:
    preferences = [row.get("preference") for row in rows]
    lengths = [row["model_length"] for row in rows]
    fitted, reason = None, baselines if isinstance(baselines, str) else None
    if isinstance(baselines, LengthControlBaselines):
        try:
            difficulty = [baselines.difficulty[row["id"]] for row in rows]
            references = [row["reference_length"] for row in rows]
            fitted = length_controlled_win_rate(
                preferences, lengths, references, difficulty, baselines.columns
            )
        except KeyError as missing:
            reason = f"{baselines.source} has no instruction {missing}"
        except ValueError as error:
            reason = str(error)
    return AlpacaEvalScore(win_rate(preferences), fitted, reason, fmean(lengths))


def _score_mt_bench(rows: Sequence[JsonRow]) -> MTBenchScore:
    return mt_bench_score(
        [row.get("score") for row in rows],
        [row["turn"] for row in rows],
        [row["category"] or "general" for row in rows],
    )


def _score_flask(rows: Sequence[JsonRow]) -> FlaskScore:
    return flask_score(
        [row.get("scores") or {} for row in rows],
        [row["domains"] for row in rows],
        [row["difficulty"] for row in rows],
    )


def _mean_by_item(rows: Sequence[JsonRow], key: str) -> dict[str | int, float]:
    """Average over the turns of an item."""
    pooled = defaultdict[str | int, list[float]](list)
    for row in rows:
        pooled[row["id"]].append(row[key])
    return {item: fmean(values) for item, values in pooled.items()}


def _present_scores(scores: Mapping[str, float | None]) -> list[float]:
    return [value for value in scores.values() if value is not None]
