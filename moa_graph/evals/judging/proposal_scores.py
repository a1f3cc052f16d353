"""Score the proposals of a mixture with an exact scorer, without a call."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmarks.exact.judge import ExactMethod, score_fields
from moa_graph.evals.diversity import ProposalScore
from moa_graph.evals.judging.setup import JudgingTask
from moa_graph.evals.results_file import ANSWERS_FILE, JsonRow, format_json_lines
from moa_graph.models.recorded import read_json_rows

PROPOSAL_SCORES_FILE = "proposal_scores.jsonl"

ScoresByItem = Mapping[str | int, Mapping[str, ProposalScore]]


def write_proposal_scores(task: JudgingTask) -> None:
    """Score each proposal of the last turn of each item; invalid ones are left out."""
    if isinstance(task.method, ExactMethod):
        rows = list(_score_rows(task, task.method))
        write_text(task.folder / PROPOSAL_SCORES_FILE, format_json_lines(rows))


def _score_rows(task: JudgingTask, method: ExactMethod) -> Iterator[JsonRow]:
    items = {item.id: item for item in task.benchmark.items}
    rows = {row["id"]: row for row in read_json_rows(task.answers.folder / ANSWERS_FILE)}
    for row in rows.values():
        if row["error"] is not None or (item := items.get(row["id"])) is None:
            continue
        for node, proposal in row["turns"][-1]["proposals"].items():
            if proposal["error"] is None:
                with suppress(ValueError):  # a user's function may reject it
                    score = method.scorer.score(proposal["content"], item.row)
                    place = {"id": item.id, "node": node, "layer": proposal["layer"]}
                    yield {**place, **score_fields(score)}


def read_proposal_scores(folder: Path) -> dict[int, ScoresByItem]:
    """Read the scores of proposals, by layer.

    Args:
        folder: Folder of the system. Without scores, there are no layers.
    """
    path = folder / PROPOSAL_SCORES_FILE
    by_layer: dict[int, dict[str | int, dict[str, ProposalScore]]] = {}
    for row in read_json_rows(path) if path.exists() else []:
        by_item = by_layer.setdefault(row["layer"], {})
        by_item.setdefault(row["id"], {})[row["node"]] = ProposalScore(row["score"], row["read"])
    return dict(sorted(by_layer.items()))
