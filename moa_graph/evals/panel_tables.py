"""Tables of several judges, for the terminal and the report."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from moa_graph.evals.agreement import Agreement
from moa_graph.evals.benchmarks.formatting import format_interval
from moa_graph.evals.judge_bias import Estimate, LengthBias, PositionBias
from moa_graph.evals.panel import JudgePanel
from moa_graph.evals.scoring import format_quality

_NONE = "-"


class PanelTable(NamedTuple):
    """A table of texts."""

    title: str
    text_columns: int
    """Number of leading text columns; the others are figures."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def list_panel_tables(panel: JudgePanel, metric: str) -> Iterator[PanelTable]:
    """Return the tables with data.

    Args:
        panel: The judges.
        metric: Name of the metric of `panel.qualities`.
    """
    if len(panel.judges) > 1:
        yield _quality_table(panel, metric)
    if panel.agreements:
        yield _agreement_table(panel.agreements)
    if panel.positions:
        yield _position_table(panel.positions)
    if any(each.rank_correlation or each.is_comparison for each in panel.lengths):
        yield _length_table(panel.lengths)


def _quality_table(panel: JudgePanel, metric: str) -> PanelTable:
    def cells(system: str) -> Iterator[str]:
        for found in (*panel.qualities.values(), panel.combined):
            yield format_quality(found[system]) if system in found else _NONE

    return PanelTable(
        f"Judges side by side: {metric}, with 95 % intervals. The mean of the judges counts each "
        "judge the same; it is no figure of the benchmark's",
        1,
        ("system", *panel.judges, "mean of the judges"),
        [(system, *cells(system)) for system in panel.systems],
    )


def _agreement_table(agreements: Sequence[Agreement]) -> PanelTable:
    weights = "quadratic weights" if agreements[0].weights == "quadratic" else "no weights"
    return PanelTable(
        f"Agreement of the judges on each {agreements[0].scale} (Cohen's kappa with {weights}: 1 "
        "is always, 0 is by chance)",
        2,
        ("judge", "other judge", "instructions", "ratings", "the same %", "kappa"),
        [
            (
                *each.judges,
                f"{each.instructions:,}",
                f"{each.ratings:,}",
                f"{100 * each.same:.1f}",
                "not defined"
                if each.kappa is None
                else format_interval(each.kappa, each.low, each.high, 2),
            )
            for each in agreements
        ],
    )


def _position_table(positions: Sequence[PositionBias]) -> PanelTable:
    shares = (
        "prefers the first %",
        "won as first %",
        "won as second %",
        "same in both %",
        "first in both %",
        "second in both %",
    )
    return PanelTable(
        "Position: how often a judge prefers the answer that it reads first (50 % without a bias); "
        "how often the systems' answers won as first and as second; how often the verdicts of "
        "both orders agree, and which position is preferred if they do not",
        2,
        ("judge", "orders", "instructions", *shares),
        [
            (
                each.judge,
                "both" if each.both_orders else "drawn",
                _count_instructions(each.prefers_first),
                *map(
                    _format_share,
                    (
                        each.prefers_first,
                        each.win_rate_first,
                        each.win_rate_second,
                        each.consistent,
                        each.first_in_both,
                        each.second_in_both,
                    ),
                ),
            )
            for each in positions
        ],
    )


def _length_table(lengths: Sequence[LengthBias]) -> PanelTable:
    is_compared = any(each.is_comparison for each in lengths)
    columns = ("prefers the longer %", "won as longer %", "longer in", "won as shorter %")
    what = "preference and difference in length" if is_compared else "score and length"
    longer = (
        "; how often the longer answer is preferred, if the system's answer were longer as often "
        "as shorter (50 % without a bias)"
        if is_compared
        else ""
    )

    def shares(each: LengthBias) -> Iterator[str]:
        if is_compared:
            yield _format_share(each.prefers_longer)
            yield _format_share(each.win_rate_longer)
            yield _count_instructions(each.win_rate_longer)
            yield _format_share(each.win_rate_shorter)

    return PanelTable(
        f"Length: Spearman's correlation of {what}, over the instructions of a system{longer}",
        2,
        ("judge", "system", "instructions", "correlation", *(columns if is_compared else ())),
        [
            (
                each.judge,
                each.system,
                _count_instructions(each.rank_correlation),
                _format_correlation(each.rank_correlation),
                *shares(each),
            )
            for each in lengths
        ],
    )


def _count_instructions(estimate: Estimate | None) -> str:
    return f"{estimate.instructions:,}" if estimate else _NONE


def _format_share(share: Estimate | None) -> str:
    if share is None:
        return _NONE
    low, high = (end if end is None else 100 * end for end in (share.low, share.high))
    return format_interval(100 * share.value, low, high, 1)


def _format_correlation(estimate: Estimate | None) -> str:
    if estimate is None:
        return _NONE
    return format_interval(estimate.value, estimate.low, estimate.high, 2)
