"""What is needed to judge a system on a benchmark: answers, data, prompts."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.flask.judge import FlaskMethod
from moa_graph.evals.benchmarks.mt_bench.judge import MTBenchMethod
from moa_graph.evals.datasets import PINNED_DATASETS, Benchmark, load_benchmark
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.prompts import JudgeFile, JudgeFileName, load_judge_file
from moa_graph.models.recorded import read_json_rows

ANSWERS_FILE, GENERATION_MANIFEST = "proposals.jsonl", "manifest.json"
JUDGING_METHODS: Mapping[str, type[AlpacaEvalMethod] | type[MTBenchMethod] | type[FlaskMethod]] = {
    "alpaca_eval": AlpacaEvalMethod,
    "mt_bench": MTBenchMethod,
    "flask": FlaskMethod,
}
"""How a benchmark is judged; prompts of one's own as AlpacaEval's."""


@dataclass(frozen=True)
class SystemAnswers:
    """What `moa eval generate` left in a folder."""

    folder: Path
    system: str
    benchmark: str
    manifest: Mapping[str, Any]
    by_item: Mapping[str | int, Sequence[str]]
    """The answers of each item that has them, turn by turn."""

    @property
    def sha256(self) -> str:
        """Tells whether answers have changed."""
        rows = sorted((str(item), list(answers)) for item, answers in self.by_item.items())
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True)
class JudgeFilePaths:
    """Where the files that a judge needs stand, instead of the published ones."""

    prompt: Path | None = None
    reference_answers: Path | None = None
    skills: Path | None = None
    own_prompt: bool = False
    """Take our own prompts, not the benchmark's."""


@dataclass(frozen=True)
class JudgingTask:
    """Answers to be judged, and how."""

    answers: SystemAnswers
    benchmark: Benchmark
    judge: Judge
    method: JudgingMethod
    sources: Mapping[str, JudgeFile]
    """The files that the judge reads."""
    opponent: str | None = None
    """The system that answers are compared with, if it is not the benchmark's reference."""


def read_answers(folder: Path) -> SystemAnswers:
    """Read the answers of a system.

    Raises:
        ValueError: If the folder holds none.
    """
    try:
        manifest = json.loads((folder / GENERATION_MANIFEST).read_text(encoding="utf-8"))
        rows = {
            row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)
        }  # the last word counts
        by_item = {
            item: [turn["answer"] for turn in row["turns"]]
            for item, row in rows.items()
            if row["error"] is None
        }
        return SystemAnswers(folder, manifest["system"], manifest["benchmark"], manifest, by_item)
    except FileNotFoundError:
        raise ValueError(
            f"{folder}: expected a system's folder, OUT/BENCHMARK/NAME, as moa eval generate writes"
        ) from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ValueError(
            f"{folder}: not answers of moa eval generate: {type(error).__name__}: {error}"
        ) from None


def prepare_judging(
    folder: Path,
    judge: Judge,
    *,
    data: Path | None = None,
    files: JudgeFilePaths = JudgeFilePaths(),
    against: Path | None = None,
) -> JudgingTask:
    """Find all that is needed to judge a system's answers.

    Args:
        folder: The system's, as `moa eval generate` writes it.
        judge: Who judges.
        data: The benchmark's data; by default those that were answered.
        files: What is read instead of the published prompts and reference answers.
        against: The folder of another system to compare with, instead of the reference in the
            data. Prompts of one's own, too, are judged as AlpacaEval's: by comparison.

    Raises:
        ValueError: If something is missing or does not fit.
    """
    answers = read_answers(folder)
    benchmark = _load_data(answers, data)
    opponent = read_answers(against) if against else None
    if opponent and benchmark.name in {"mt_bench", "flask"}:
        raise ValueError(f"--against: {benchmark.name} compares with no other system")
    if opponent and opponent.manifest["data"]["sha256"] != benchmark.sha256:
        raise ValueError(f"{against}: answers to other data than {folder}")
    method, sources = build_method(benchmark, judge, files, opponent)
    task = JudgingTask(answers, benchmark, judge, method, sources)
    return replace(task, opponent=opponent.system) if opponent else task


def _load_data(answers: SystemAnswers, data: Path | None) -> Benchmark:
    data_manifest = answers.manifest["data"]
    if answers.benchmark in PINNED_DATASETS:
        is_pinned = data_manifest["source"] == PINNED_DATASETS[answers.benchmark].url
        benchmark = load_benchmark(
            answers.benchmark, data or (None if is_pinned else data_manifest["source"])
        )
    else:
        benchmark = load_benchmark(data or data_manifest["source"])
    if benchmark.sha256 != data_manifest["sha256"]:
        raise ValueError(
            f"{benchmark.source} is not what {answers.folder} answers: sha256 {benchmark.sha256}, "
            f"expected {data_manifest['sha256']}; give the data with --data"
        )
    return replace(benchmark, name=answers.benchmark)


def build_method(
    benchmark: Benchmark, judge: Judge, files: JudgeFilePaths, opponent: SystemAnswers | None = None
) -> tuple[JudgingMethod, dict[str, JudgeFile]]:
    """Build the method of a benchmark, and tell what the judge reads.

    Raises:
        ValueError: If a file cannot be had; the message says what to fetch.
    """
    name = benchmark.name if benchmark.name in PINNED_DATASETS else "alpaca_eval"
    _check_files(name, files)
    # The stand-in reads no prompt, so that none has to be fetched.
    own = files.own_prompt or not judge.is_language_model
    parts: dict[str, JudgeFile] = {"prompt": load_judge_file(name, "prompt", files.prompt, own=own)}
    if name == "flask":
        parts["skills"] = load_judge_file(name, "skills", files.skills, own=own)
        return FlaskMethod(parts["prompt"].text, parts["skills"].text), _files_read_by(judge, parts)
    if name == "mt_bench":
        references = None
        if files.reference_answers or benchmark.revision:  # data of one's own bring theirs
            parts["reference_answers"] = load_judge_file(
                name, "reference_answers", files.reference_answers
            )
            references = parts["reference_answers"].text
        return MTBenchMethod(parts["prompt"].text, references), _files_read_by(judge, parts)
    outputs = {item: turns[0] for item, turns in opponent.by_item.items()} if opponent else None
    return AlpacaEvalMethod(parts["prompt"].text, outputs), _files_read_by(judge, parts)


def _files_read_by(judge: Judge, parts: Mapping[str, JudgeFile]) -> dict[str, JudgeFile]:
    unread = () if judge.is_language_model else ("prompt", "skills")
    return {part: source for part, source in parts.items() if part not in unread}


def _check_files(benchmark: str, files: JudgeFilePaths) -> None:
    """Refuse files that would silently have no effect."""
    users: dict[JudgeFileName, str] = {"reference_answers": "mt_bench", "skills": "flask"}
    for part, user in users.items():
        if getattr(files, part) and benchmark != user:
            option = part.replace("_", "-")
            raise ValueError(f"--{option} has no effect on {benchmark}; it is {user}'s")
    if files.own_prompt and files.prompt:
        raise ValueError("give --prompt or --builtin-prompt, not both")


def official_judge_for_folder(folder: Path) -> Judge:
    """Give the benchmark's own judge, for a system's folder."""
    return official_judge_for_benchmark(read_answers(folder).benchmark)


def official_judge_for_benchmark(benchmark: str) -> Judge:
    """Give a benchmark's own judge."""
    return read_judge(JUDGING_METHODS.get(benchmark, AlpacaEvalMethod).official_label)
