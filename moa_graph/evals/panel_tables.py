"""The tables of a panel of judges, for the terminal and for the page."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from moa_graph.evals.agreement import Agreement
from moa_graph.evals.benchmarks.formatting import format_interval
from moa_graph.evals.judge_bias import Estimate, LengthBias, PositionBias
from moa_graph.evals.panel import JudgePanel
from moa_graph.evals.scoring import format_quality

_NONE = "-"


class PanelTable(NamedTuple):
    """A table, of text."""

    title: str
    text_columns: int
    """How many of the first columns are text; the others are figures."""
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def list_panel_tables(panel: JudgePanel, metric: str) -> Iterator[PanelTable]:
    """Give the tables that there is something for.

    Args:
        panel: The judges.
        metric: What `panel.qualities` are.
    """
    if len(panel.judges) > 1:
        yield _quality_table(panel, metric)
    if panel.agreements:
        yield _agreement_table(panel.agreements)
    if panel.positions:
        yield _position_table(panel.positions)
    if any(each.rank_correlation or each.prefers_longer for each in panel.lengths):
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
        "same in both orders %",
        "first in both %",
        "second in both %",
    )
    return PanelTable(
        "Position: how often a judge prefers the answer that it reads first (50 % if the place "
        "makes no difference to it), over all systems",
        2,
        ("judge", "orders", *shares),
        [
            (
                each.judge,
                "both" if each.both_orders else "one, drawn",
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
    is_compared = any(each.prefers_longer for each in lengths)
    columns = ("prefers the longer %", "won as longer %", "won as shorter %")
    what = "preference and difference in length" if is_compared else "score and length"

    def shares(each: LengthBias) -> Iterator[str]:
        if is_compared:
            parts = (each.prefers_longer, each.win_rate_longer, each.win_rate_shorter)
            yield from map(_format_share, parts)

    return PanelTable(
        f"Length: Spearman's correlation of {what}, over the instructions of a system",
        2,
        ("judge", "system", "correlation", *(columns if is_compared else ())),
        [
            (each.judge, each.system, _format_estimate(each.rank_correlation), *shares(each))
            for each in lengths
        ],
    )


def _format_share(share: Estimate | None) -> str:
    if share is None:
        return _NONE
    low, high = (end if end is None else 100 * end for end in (share.low, share.high))
    return f"{format_interval(100 * share.value, low, high, 1)} of {share.instructions:,}"


def _format_estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return _NONE
    return (
        f"{format_interval(estimate.value, estimate.low, estimate.high, 2)} "
        f"of {estimate.instructions:,}"
    )
