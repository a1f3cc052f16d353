"""Judge the proposals that the aggregator read, in the same way as answers."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmark_data import BenchmarkItem
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.correlation import PreferenceSample
from moa_graph.evals.judging.cases import JudgementCase
from moa_graph.evals.judging.judge import BenchmarkJudge
from moa_graph.evals.judging.setup import JudgingTask
from moa_graph.evals.probing import ProbedWork
from moa_graph.evals.results_file import ANSWERS_FILE, JsonRow, format_json_lines
from moa_graph.graph.node_names import parse_helper_role
from moa_graph.models.recorded import read_json_rows
from moa_graph.runs.budget import applicable_max_cost
from moa_graph.runs.job_progress import JobProgress
from moa_graph.runs.jobs import JobOutcome, run_jobs

PROPOSAL_JUDGEMENTS_FILE = "proposal_judgements.jsonl"


class ProposalCase(NamedTuple):
    """A proposal of the last layer, in the first turn of an item."""

    item: BenchmarkItem
    node: str
    case: JudgementCase


async def judge_proposals(
    task: JudgingTask,
    call_store: CallStore,
    *,
    concurrency: int = 8,
    max_cost: float | None = None,
    show: Callable[[JobProgress], None] = lambda _: None,
) -> tuple[JobProgress, Mapping[str, str]]:
    """Judge the proposals that the aggregator read, and write the judgements beside them.

    Args:
        task: The judging task of the system. Of a conversation, only the first turn counts.
        call_store: The call store: a proposal that is also a system's answer is judged once.
        concurrency: Number of parallel judgements.
        max_cost: As in `run_jobs`.
        show: As in `run_jobs`.

    Returns:
        The progress, and the causes of missing judgements, by item and node.

    Raises:
        ValueError: If a key is missing.
        AllFailedError: If the first judgements all failed with the same cause.
    """
    benchmark_judge, folder = (
        BenchmarkJudge(task.judge, task.method, call_store),
        task.answers.folder,
    )
    judging = ProbedWork[ProposalCase, JsonRow](
        lambda proposal: benchmark_judge.judge_case(proposal.case)
    )
    rows = list[JsonRow]()

    def keep(proposal: ProposalCase, outcome: JobOutcome[JsonRow]) -> None:
        result = {"id": proposal.item.id, "node": proposal.node, **(outcome.result or {})}
        rows.append(
            {**result, "text": _text_hash(proposal.case.answers[0]), "error": outcome.error}
        )
        judging.check()

    try:
        progress = await run_jobs(
            list(_proposal_cases(task)),
            judging.run,
            keep,
            concurrency=concurrency,
            max_cost=applicable_max_cost(max_cost, [task.judge.label]),
            prices=task.judge.prices,
            show=show,
        )
    finally:
        write_text(folder / PROPOSAL_JUDGEMENTS_FILE, format_json_lines(rows))
    return progress, {f"{r['id']}, {r['node']}": r["error"] for r in rows if r["error"]}


def read_samples(folder: Path) -> list[PreferenceSample]:
    """Read the proposals, answers and judgements of a system.

    Args:
        folder: Folder of the system.

    Raises:
        ValueError: If the proposals were not judged.
    """
    try:
        judgements = {
            (row["id"], row["node"]): row
            for row in read_json_rows(folder / PROPOSAL_JUDGEMENTS_FILE)
        }
        rows = {row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)}
    except (OSError, ValueError, LookupError) as error:
        raise ValueError(f"{folder}: the proposals were not judged: {error}") from None
    return [
        PreferenceSample(
            row["turns"][0]["answer"],
            list(proposals.values()),
            [
                _preference_of(judgements.get((row["id"], node)), text)
                for node, text in proposals.items()
            ],
        )
        for row in rows.values()
        if row["error"] is None and (proposals := _last_layer_proposals(row))
    ]


def _proposal_cases(task: JudgingTask) -> Iterator[ProposalCase]:
    items = {item.id: item for item in task.benchmark.items}
    rows = {row["id"]: row for row in read_json_rows(task.answers.folder / ANSWERS_FILE)}
    for row in rows.values():
        if row["error"] is not None or (item := items.get(row["id"])) is None:
            continue
        for node, text in _last_layer_proposals(row).items():
            for case in task.method.list_cases(item, [text])[:1]:
                yield ProposalCase(item, node, case)


def _last_layer_proposals(row: JsonRow) -> dict[str, str]:
    """Return the proposals that the aggregator read, by node."""
    stored: Mapping[str, JsonRow] = row["turns"][0]["proposals"]
    proposals = {node: each for node, each in stored.items() if not parse_helper_role(node)}
    last = max((each["layer"] for each in proposals.values()), default=0)
    return {
        node: each["content"]
        for node, each in proposals.items()
        if each["layer"] == last and each["error"] is None
    }


def _preference_of(row: JsonRow | None, text: str) -> float | None:
    """Return the judge's preference for a proposal, if it has judged this text."""
    if row is None or row["error"] or row["text"] != _text_hash(text):
        return None
    if "scores" in row:
        return _mean_if_any([value for value in row["scores"].values() if value is not None])
    return float(row["preference"] if "preference" in row else row["score"])


def _mean_if_any(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _text_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
