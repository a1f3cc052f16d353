"""What the aggregator takes: the proposals that it read are judged as answers are."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from moa_graph.evals.call_store import Ledger
from moa_graph.evals.correlation import Sample
from moa_graph.evals.datasets import Item
from moa_graph.evals.judging.cases import Case
from moa_graph.evals.judging.judge import Bench
from moa_graph.evals.judging.setup import ANSWERS, Task
from moa_graph.evals.results_file import Row, write_text
from moa_graph.models.recorded import read_rows
from moa_graph.runs.jobs import (
    Outcome,
    Tally,
    limit,
    work_through,
)

JUDGED = "proposal_judgements.jsonl"


class Proposal(NamedTuple):
    """A proposal of the last layer, in the first turn of an item."""

    item: Item
    node: str
    case: Case


async def judge_proposals(
    task: Task,
    ledger: Ledger,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[Tally], None] = lambda _: None,
) -> tuple[Tally, Mapping[str, str]]:
    """Have the proposals that the aggregator read judged; the judgements are written beside them.

    Args:
        task: The system's answers, and how they are judged. Of a conversation the first turn
            counts.
        ledger: Where each call is kept: a proposal that is a system's answer, too, is judged once.
        concurrency: How many judgements are under way at a time.
        max_cost: As in `work_through`.
        show: As in `work_through`.

    Returns:
        What was done, and why judgements are missing, by item and node.

    Raises:
        ValueError: If a key is missing, or the judge is of no use.
    """
    bench, folder = Bench(task.judge, task.method, ledger), task.answers.folder
    rows = list[Row]()

    def keep(proposal: Proposal, outcome: Outcome[Row]) -> None:
        result = {"id": proposal.item.id, "node": proposal.node, **(outcome.result or {})}
        rows.append({**result, "text": _hash(proposal.case.answers[0]), "error": outcome.error})

    try:
        tally = await work_through(
            list(_proposals(task)),
            lambda proposal: bench.judge(proposal.case),
            keep,
            concurrency=concurrency,
            max_cost=limit(max_cost, [task.judge.label]),
            prices=task.judge.prices,
            show=show,
        )
    finally:
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(folder / JUDGED, "".join(lines))
    return tally, {f"{r['id']}, {r['node']}": r["error"] for r in rows if r["error"]}


def read_samples(folder: Path) -> list[Sample]:
    """Read what the aggregator of a system was given, what it made of it, and the judgements.

    Args:
        folder: The system's.

    Raises:
        ValueError: If the proposals were not judged.
    """
    try:
        judged = {(row["id"], row["node"]): row for row in read_rows(folder / JUDGED)}
        rows = {row["id"]: row for row in read_rows(folder / ANSWERS)}
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"{folder}: the proposals were not judged: {error}") from None
    return [
        Sample(
            row["turns"][0]["answer"],
            list(proposals.values()),
            [_liking(judged.get((row["id"], node)), text) for node, text in proposals.items()],
        )
        for row in rows.values()
        if row["error"] is None and (proposals := _last_layer(row))
    ]


def _proposals(task: Task) -> Iterator[Proposal]:
    items = {item.id: item for item in task.benchmark.items}
    rows = {row["id"]: row for row in read_rows(task.answers.folder / ANSWERS)}
    for row in rows.values():
        if row["error"] is not None or (item := items.get(row["id"])) is None:
            continue
        for node, text in _last_layer(row).items():
            for case in task.method.cases(item, [text])[:1]:
                yield Proposal(item, node, case)


def _last_layer(row: Row) -> dict[str, str]:
    """Give the proposals that the aggregator read, by node."""
    proposals: Mapping[str, Row] = row["turns"][0]["proposals"]
    last = max((each["layer"] for each in proposals.values()), default=0)
    return {
        node: each["content"]
        for node, each in proposals.items()
        if each["layer"] == last and each["error"] is None
    }


def _liking(row: Row | None, text: str) -> float | None:
    """Give how a judge likes a proposal, unless it has not judged this very text."""
    if row is None or row["error"] or row["text"] != _hash(text):
        return None
    if "scores" in row:
        return _mean([value for value in row["scores"].values() if value is not None])
    return float(row["preference"] if "preference" in row else row["score"])


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
