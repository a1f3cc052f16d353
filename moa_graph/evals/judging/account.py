"""The record of a judging: its judgements, its setup and its deviations."""

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmarks.registry import find_benchmark
from moa_graph.evals.judging.prompts import JudgeFile
from moa_graph.evals.judging.setup import JudgingTask
from moa_graph.evals.manifest import package_versions
from moa_graph.evals.results_file import (
    JUDGEMENTS_FILE,
    JUDGING_MANIFEST,
    JsonRow,
    format_json_lines,
)


def write_judgements(task: JudgingTask, expected: int, rows: Sequence[JsonRow]) -> tuple[str, ...]:
    """Write the judgements and their manifest.

    Args:
        task: The judging task.
        expected: Expected number of judgements.
        rows: The judgements, including failed ones.

    Returns:
        The labels that must accompany figures from them.
    """
    items = _count_items(task, expected, rows)
    labels = [*_judge_labels(task), *_file_labels(task.sources), *_data_labels(task, items)]
    costs = [row["cost"] for row in rows if row["cost"] is not None]
    manifest = {
        "system": task.answers.system,
        "benchmark": task.benchmark.name,
        "whole": _is_complete(items),
        "labels": labels,
        "judge": {
            "model": task.judge.label,
            "official": task.method.label is None and task.judge.is_official(task.method),
            "language_model": task.judge.is_language_model,
            **task.judge.settings(task.method),
            **(task.method.request_options if task.judge.is_language_model else {}),
            **({"verdict": task.method.label} if task.method.label else {}),
        },
        "reads": {
            part: {"kind": source.kind, "source": source.location, "sha256": source.sha256}
            for part, source in task.sources.items()
        },
        "compared_with": task.opponent,
        "items": items,
        "tokens": sum(row["usage"]["total_tokens"] for row in rows if row["usage"]),
        "cost": sum(costs) if costs else None,
        "calls_of_unknown_cost": len(rows) - len(costs),
        "data": dict(task.answers.manifest["data"]),
        "answers_sha256": task.answers.sha256,
        "further_judges": list(task.further_judges),
        "versions": package_versions(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = format_json_lines(rows)
    task.folder.mkdir(parents=True, exist_ok=True)
    write_text(task.folder / JUDGEMENTS_FILE, text)
    write_text(task.folder / JUDGING_MANIFEST, json.dumps(manifest, indent=2, ensure_ascii=False))
    return tuple(labels)


def _count_items(task: JudgingTask, expected: int, rows: Sequence[JsonRow]) -> dict[str, int]:
    failed = sum(row["error"] is not None for row in rows)
    answered = [item for item in task.benchmark.items if item.id in task.answers.by_item]
    without_opponent = [
        i for i in answered if not task.method.list_cases(i, task.answers.by_item[i.id])
    ]
    return {
        "in_the_benchmark": task.benchmark.full_size,
        "answered": len(answered),
        "without_opponent": len(without_opponent),
        "judgements_wanted": expected,
        "judged": len(rows) - failed,
        "failed": failed,
    }


def _is_complete(items: Mapping[str, int]) -> bool:
    compared = items["answered"] - items["without_opponent"]
    every_item = compared == items["in_the_benchmark"]
    return every_item and items["judged"] == items["judgements_wanted"]


def _judge_labels(task: JudgingTask) -> Iterator[str]:
    judge, official = task.judge, task.method.official_label
    if task.method.label:
        yield task.method.label
    if judge.label == official and not judge.is_language_model:
        return
    if judge.scorer is not None:
        yield f"scored by {judge.scorer}, not by the benchmark's {official}"
    elif not judge.is_language_model:
        yield f"judge {judge.label} is not a language model: it counts words, for demonstrations"
    elif judge.label != official:
        yield f"judge {judge.label}, not the benchmark's {official}"
    elif not (task.method.label or judge.is_official(task.method)):
        yield f"judge {judge.label} with options other than the benchmark's"


def _file_labels(sources: Mapping[str, JudgeFile]) -> Iterator[str]:
    for name, source in sources.items():
        part = name.replace("_", " ")
        if source.kind == "own":
            yield f"own {part}, not the benchmark's"
        elif source.kind == "given":
            yield f"{part} from {source.location}, which is not the published file"


def _data_labels(task: JudgingTask, items: Mapping[str, int]) -> Iterator[str]:
    if task.opponent:
        yield f"compared with {task.opponent}, not with the benchmark's reference"
    benchmark = find_benchmark(task.benchmark.name)
    if not benchmark:
        how = "" if task.judge.scorer else ", judged like AlpacaEval's"
        yield f"prompts of your own{how}"
    elif not benchmark.has_published(task.benchmark):
        yield benchmark.unpublished_label
    if left_out := task.benchmark.left_out:
        size = task.benchmark.full_size
        yield f"without {left_out:,} of {size:,} items, which cannot be scored exactly"
    if items["answered"] < items["in_the_benchmark"]:
        yield f"partial: {items['answered']:,} of {items['in_the_benchmark']:,} answered"
    if items["without_opponent"]:
        yield f"partial: {items['without_opponent']:,} answers have nothing to compare with"
    if missing := items["judgements_wanted"] - items["judged"]:
        yield f"partial: {missing:,} of {items['judgements_wanted']:,} judgements are missing"
