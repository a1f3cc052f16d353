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
from moa_graph.evals.datasets import Pin, fetch
from moa_graph.evals.judging.account import JUDGEMENTS, MANIFEST
from moa_graph.evals.judging.setup import read_answers
from moa_graph.evals.results_file import Row
from moa_graph.evals.statistics import Comparison, compare
from moa_graph.models.recorded import read_rows

_PACKAGES = ("moa_graph", "numpy", "scikit-learn", "scipy")  # that figures come from
_REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
GAMED = Pin(
    f"https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/{_REVISION}/df_gamed.csv",
    _REVISION,
    rows=0,
    ends=("97aeec3f", "674d"),
)
"""The gamed baselines. Of its hash only the ends are known here, from the notes of others."""


@dataclass(frozen=True)
class Gamed:
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


Figures = AlpacaEvalScore | MTBenchScore | FlaskScore


@dataclass(frozen=True)
class Scored:
    """The figures of a system, and where they are from."""

    system: str
    benchmark: str
    figures: Figures
    labels: tuple[str, ...]
    """What has to be said wherever they stand."""
    manifest: Mapping[str, Any]
    """Of the judging: judge, prompts, data, versions, date."""
    by_instruction: Mapping[str | int, float]
    """Points of a win rate, a mean rating (1 to 10) or a mean score (1 to 5)."""
    gamed: Gamed | None = None
    """What the length control was fitted with."""

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data."""
        table = {"source": self.gamed.source, "sha256": self.gamed.sha256} if self.gamed else None
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
class Unscored:
    """A system without a figure, because nothing of it could be judged."""

    system: str
    benchmark: str
    labels: tuple[str, ...]
    manifest: Mapping[str, Any]

    @property
    def cause(self) -> str:
        """Why there is none."""
        items = self.manifest["items"]
        failed, wanted = items["failed"], items["judgements_wanted"]
        judged = f", {failed:,} of {wanted:,} judgements failed" if wanted else ""
        return f"no score: {items['answered']:,} of {items['in_the_benchmark']:,} answered{judged}"

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain data, as `Scored.as_dict` does."""
        return {
            "system": self.system,
            "benchmark": self.benchmark,
            "labels": [*self.labels, self.cause],
            "figures": None,
            "judging": dict(self.manifest),
        }


def score(folder: Path, gamed: Gamed | str) -> Scored | Unscored:
    """Score a system. One without a score is no error, for it keeps no other from its own.

    Args:
        folder: Where its judgements are.
        gamed: The gamed baselines of AlpacaEval, or why they are not to be had.

    Raises:
        ValueError: If there are no judgements, or the answers changed since.
    """
    manifest, rows = _read(folder)
    common = (manifest["system"], manifest["benchmark"])
    labels = tuple(manifest["labels"])
    means = _by_instruction(manifest["benchmark"], rows)
    if not means:
        return Unscored(*common, labels, manifest)
    match manifest["benchmark"]:
        case "mt_bench":
            return Scored(*common, _mt_bench(rows), labels, manifest, means)
        case "flask":
            return Scored(*common, _flask(rows), labels, manifest, means)
        case _:
            usable = _usable(gamed, manifest)
            figures = _alpaca_eval(rows, usable)
            used = usable if figures.length_controlled and isinstance(usable, Gamed) else None
            return Scored(*common, figures, labels, manifest, means, used)


def compare_scored(first: Scored, second: Scored) -> Comparison:
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


def read_gamed(path: Path | None = None) -> Gamed:
    """Read the gamed baselines of AlpacaEval.

    Args:
        path: Where they stand; by default they are downloaded once, at a pinned revision.

    Raises:
        ValueError: If they cannot be had; the message says what to fetch.
    """
    file = path.expanduser() if path else fetch(GAMED, "--gamed-baselines")
    try:
        data = file.read_bytes()
        rows = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
        names = ("preference", "std_delta_len", "instruction_difficulty")
        columns = {name: [float(row[name]) for row in rows] for name in names}
        places = [int(float(row["index"])) for row in rows]
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{file}: expected a table with the columns index, preference, std_delta_len, "
            f"instruction_difficulty: {type(error).__name__}: {error}"
        ) from None
    difficulty = dict[int, float]()
    for place, value in zip(places, columns["instruction_difficulty"], strict=True):
        difficulty.setdefault(place, value)  # the first row counts, as in the published code
    source = str(path) if path else GAMED.url
    return Gamed(columns, difficulty, source, hashlib.sha256(data).hexdigest())


def load_gamed(folders: Sequence[Path], path: Path | None = None) -> Gamed | str:
    """Read the gamed baselines where they are of use to one of the folders.

    Returns:
        The baselines, or why they are not to be had.

    Raises:
        ValueError: If `path` cannot be read.
    """
    if path:
        return read_gamed(path)
    manifests = [json.loads((folder / MANIFEST).read_text("utf-8")) for folder in folders]
    if not any(
        each["benchmark"] == "alpaca_eval" and each["data"]["revision"] for each in manifests
    ):
        return "the gamed baselines belong to the published instructions, and these are others"
    try:
        return read_gamed()
    except ValueError as error:
        return f"no gamed baselines: {error}"


def _read(folder: Path) -> tuple[dict[str, Any], list[Row]]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        rows = read_rows(folder / JUDGEMENTS)
        judged_then = manifest["answers_sha256"]
    except FileNotFoundError:
        raise ValueError(f"{folder}: not judged yet; run: moa eval judge {folder}") from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{folder}: not judgements of moa eval judge: {error}") from None
    if read_answers(folder).sha256 != judged_then:
        raise ValueError(
            f"{folder}: the answers changed since they were judged; run moa eval judge again (what "
            "is the same is not paid for again)"
        )
    return manifest, rows


def _by_instruction(benchmark: str, rows: Sequence[Row]) -> dict[str | int, float]:
    judged = [row for row in rows if row["error"] is None]
    match benchmark:
        case "mt_bench":
            return _means(judged, "score")
        case "flask":
            scores = {row["id"]: _known(row["scores"]) for row in judged}
            return {item: fmean(known) for item, known in scores.items() if known}
        case _:
            return {row["id"]: 100 * (row["preference"] - 1) for row in judged}


def _usable(gamed: Gamed | str, manifest: Mapping[str, Any]) -> Gamed | str:
    """Tell whether the gamed baselines belong to these judgements."""
    if manifest["compared_with"]:
        return "it is defined against the benchmark's reference only"
    if manifest["benchmark"] != "alpaca_eval":
        return "it is defined for AlpacaEval's instructions only"
    if isinstance(gamed, Gamed) and not manifest["data"]["revision"]:
        return "the gamed baselines belong to the published instructions, and these are others"
    return gamed


def _alpaca_eval(rows: Sequence[Row], gamed: Gamed | str) -> AlpacaEvalScore:
    preferences = [row.get("preference") for row in rows]
    lengths = [row["model_length"] for row in rows]
    fitted, reason = None, gamed if isinstance(gamed, str) else None
    if isinstance(gamed, Gamed):
        try:
            difficulty = [gamed.difficulty[row["id"]] for row in rows]
            references = [row["reference_length"] for row in rows]
            fitted = length_controlled_win_rate(
                preferences, lengths, references, difficulty, gamed.columns
            )
        except KeyError as missing:
            reason = f"{gamed.source} has no instruction {missing}"
        except ValueError as error:
            reason = str(error)
    return AlpacaEvalScore(win_rate(preferences), fitted, reason, fmean(lengths))


def _mt_bench(rows: Sequence[Row]) -> MTBenchScore:
    return mt_bench_score(
        [row.get("score") for row in rows],
        [row["turn"] for row in rows],
        [row["category"] or "general" for row in rows],
    )


def _flask(rows: Sequence[Row]) -> FlaskScore:
    return flask_score(
        [row.get("scores") or {} for row in rows],
        [row["domains"] for row in rows],
        [row["difficulty"] for row in rows],
    )


def _means(rows: Sequence[Row], key: str) -> dict[str | int, float]:
    """Average over the turns of an item."""
    pooled = defaultdict[str | int, list[float]](list)
    for row in rows:
        pooled[row["id"]].append(row[key])
    return {item: fmean(values) for item, values in pooled.items()}


def _known(scores: Mapping[str, float | None]) -> list[float]:
    return [value for value in scores.values() if value is not None]
