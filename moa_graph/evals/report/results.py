"""Read a comparison: what its folders hold, put together for the report."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, groupby
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moa_graph.evals.benchmarks.alpaca_eval.score import LengthControlled
from moa_graph.evals.budget import Budget, read_budget, read_calls
from moa_graph.evals.comparison import ACCOUNT
from moa_graph.evals.correlation import Correlation, correlate
from moa_graph.evals.datasets import PINS
from moa_graph.evals.judging.account import MANIFEST as JUDGING
from moa_graph.evals.judging.setup import ANSWERS
from moa_graph.evals.judging.setup import MANIFEST as GENERATION
from moa_graph.evals.proposal_judging import JUDGED, read_samples
from moa_graph.evals.scoring import (
    AlpacaEvalScore,
    Gamed,
    Scored,
    Unscored,
    compare_scored,
    score,
)
from moa_graph.evals.statistics import Comparison
from moa_graph.models.recorded import read_rows

RESAMPLES = 9999


class Quality(NamedTuple):
    """How good a system is, on the benchmark's own scale, with its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measurement:
    """A system on a benchmark."""

    system: str
    scored: Scored
    quality: Quality
    budget: Budget
    generation: Mapping[str, Any]
    """The manifest of its answers."""


@dataclass(frozen=True)
class Gap:
    """A system without a figure on a benchmark."""

    unscored: Unscored
    generation: Mapping[str, Any]
    """The manifest of its answers."""


@dataclass(frozen=True)
class Dot:
    """A point of an analysis."""

    curve: str
    x: float | str
    measured: Measurement
    verdict: str | None
    """How it compares with the system that it is to be compared with."""


@dataclass(frozen=True)
class Analysis:
    """An analysis of a mixture, on a benchmark."""

    of: str
    name: str
    dots: Sequence[Dot]

    @property
    def curves(self) -> dict[str, list[Dot]]:
        """The dots of each curve."""
        found: dict[str, list[Dot]] = {}
        for dot in self.dots:
            found.setdefault(dot.curve, []).append(dot)
        return found


@dataclass(frozen=True)
class Section:
    """A benchmark, and all that was measured on it."""

    benchmark: str
    metric: str
    """What `quality` is."""
    measured: Sequence[Measurement]
    gaps: Sequence[Gap]
    """Systems of which nothing could be judged: no figure, no picture, no comparison."""
    named: Sequence[Measurement]
    """Those that are not only points of analyses."""
    verdicts: Sequence[str]
    """Each two of these, those with the first one first."""
    analyses: Sequence[Analysis]
    correlations: Mapping[str, Mapping[str, Correlation]]
    """Of each system that it was asked for, by measure of likeness."""

    @property
    def controlled(self) -> bool:
        """Whether `quality` is the length-controlled win rate, which has no interval here."""
        return self.metric.startswith("length-controlled")

    @property
    def labels(self) -> dict[str, list[str]]:
        """What has to be said wherever figures from here stand, and of which systems."""
        found: dict[str, list[str]] = {}
        for scored in self._systems:
            for label in (*scored.labels, *_unavailable(scored)):
                found.setdefault(label, []).append(scored.system)
        return found

    @property
    def size(self) -> int:
        """How many systems there are, with a figure or without."""
        return len(self._systems)

    @property
    def _systems(self) -> list[Scored | Unscored]:
        return [*(each.scored for each in self.measured), *(each.unscored for each in self.gaps)]

    @property
    def footnote(self) -> str:
        """The labels as one text: for a picture, which may be seen alone."""
        parts = [
            label if len(systems) == self.size else f"{label} ({names_of(systems)})"
            for label, systems in self.labels.items()
        ]
        return "; ".join(parts)


@dataclass(frozen=True)
class Account:
    """What the folders are, as `moa eval run` wrote it down."""

    named: Sequence[str] = ()
    systems: Sequence[str] = ()
    points: Sequence[Mapping[str, Any]] = ()
    published: Mapping[str, str] = field(default_factory=dict)
    prices: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sizes: Mapping[str, float] = field(default_factory=dict)
    gamed_baselines: str | None = None


def read_account(out: Path) -> Account:
    """Read what a comparison is; a folder without a plan is one without analyses.

    Raises:
        ValueError: If the account cannot be read.
    """
    path = out / ACCOUNT
    if not path.exists():
        return Account()
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return Account(**{name: known[name] for name in Account.__dataclass_fields__})
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"{path}: not written by moa eval run: {error}") from None


def read_sections(
    folders: Sequence[Path], account: Account, gamed: Gamed | str
) -> Iterator[Section]:
    """Read all that was measured.

    Args:
        folders: Those of systems with judgements: `OUT/BENCHMARK/NAME`.
        account: What they are.
        gamed: As in `score`.

    Raises:
        ValueError: If a folder cannot be read, or its answers changed since they were judged.
    """
    order = {name: place for place, name in enumerate(account.systems)}
    sections = {name: place for place, name in enumerate(PINS)}
    ordered = sorted(
        folders,
        key=lambda each: (
            sections.get(each.parent.name, len(sections)),
            each.parent.name,
            order.get(each.name, len(order)),
            each.name,
        ),
    )
    for benchmark, group in groupby(ordered, lambda each: each.parent.name):
        yield _section(benchmark, list(group), account, gamed)


def _section(
    benchmark: str, folders: Sequence[Path], account: Account, gamed: Gamed | str
) -> Section:
    found = {folder: score(folder, gamed) for folder in folders}
    scored = {folder: each for folder, each in found.items() if isinstance(each, Scored)}
    controlled = bool(scored) and all(map(_length_controlled, scored.values()))
    measured = [
        Measurement(
            each.system,
            each,
            _quality(each, controlled=controlled),
            _budget(folder, account),
            _generation(folder),
        )
        for folder, each in scored.items()
    ]
    named = [each for each in measured if each.system in account.named] or measured
    by_name = {each.system: each for each in measured}
    return Section(
        benchmark=benchmark,
        metric=_metric(benchmark, controlled=controlled),
        measured=measured,
        gaps=[
            Gap(each, _generation(folder))
            for folder, each in found.items()
            if isinstance(each, Unscored)
        ],
        named=named,
        verdicts=[_verdict(*pair) for pair in combinations(named, 2)],
        analyses=list(_analyses(account, by_name)),
        correlations={
            folder.name: correlate(read_samples(folder))
            for folder in scored
            if (folder / JUDGED).is_file()
        },
    )


def _length_controlled(scored: Scored) -> LengthControlled | None:
    figures = scored.figures
    return figures.length_controlled if isinstance(figures, AlpacaEvalScore) else None


def _unavailable(scored: Scored | Unscored) -> Iterator[str]:
    figures = scored.figures if isinstance(scored, Scored) else None
    if isinstance(figures, AlpacaEvalScore) and figures.unavailable:
        yield f"length-controlled: unavailable, {figures.unavailable}"


def _generation(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / GENERATION).read_text(encoding="utf-8")))


def _metric(benchmark: str, *, controlled: bool) -> str:
    match benchmark:
        case "mt_bench":
            return "mean rating, 1 to 10"
        case "flask":
            return "mean score, 1 to 5"
        case _:
            return "length-controlled win rate, %" if controlled else "win rate, %"


def _quality(scored: Scored, *, controlled: bool) -> Quality:
    if controlled and (fitted := _length_controlled(scored)):
        # Its standard error tells how instructions differ, not how far to trust the figure.
        return Quality(fitted.win_rate, fitted.win_rate, fitted.win_rate)
    values = np.array(list(scored.by_instruction.values()))
    rng = np.random.default_rng(0)
    means = rng.choice(values, (RESAMPLES, len(values))).mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Quality(float(values.mean()), float(low), float(high))


def _budget(folder: Path, account: Account) -> Budget:
    rows = {row["id"]: row for row in read_rows(folder / ANSWERS)}.values()
    turns = [turn for row in rows if row["error"] is None for turn in row["turns"]]
    return read_budget([read_calls(turn) for turn in turns], account.prices, account.sizes)


def _analyses(account: Account, by_name: Mapping[str, Measurement]) -> Iterator[Analysis]:
    points = [point for point in account.points if point["system"] in by_name]
    for (of, name), group in groupby(points, lambda each: (each["of"], each["analysis"])):
        dots = [
            Dot(
                point["curve"],
                point["x"],
                by_name[point["system"]],
                _verdict(by_name[point["system"]], by_name[point["against"]])
                if point["against"] in by_name and point["against"] != point["system"]
                else None,
            )
            for point in group
        ]
        yield Analysis(of, name, dots)


def _verdict(first: Measurement, second: Measurement) -> str:
    try:
        found: Comparison = compare_scored(first.scored, second.scored)
    except ValueError as error:
        return f"not compared: {error}"
    return found.verdict


def names_of(systems: Sequence[str], most: int = 3) -> str:
    """Name systems, or some of many."""
    more = f" and {len(systems) - most} more" if len(systems) > most else ""
    return ", ".join(systems[:most]) + more


def find_folders(out: Path, account: Account) -> tuple[list[Path], list[Path]]:
    """Find the folders of systems that were judged.

    Returns:
        Those of the comparison's systems, and others: without a plan there are none.

    Raises:
        ValueError: If there is none at all.
    """
    if not (folders := [path.parent for path in sorted(out.glob(f"*/*/{JUDGING}"))]):
        raise ValueError(
            f"{out}: nothing is judged in it; expected the folder of a comparison, as moa eval run "
            "or moa eval generate and moa eval judge write it"
        )
    known = set(account.systems) or {folder.name for folder in folders}
    return (
        [folder for folder in folders if folder.name in known],
        [folder for folder in folders if folder.name not in known],
    )
