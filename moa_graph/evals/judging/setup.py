"""What is needed to judge a system on a benchmark: answers, data, prompts."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.benchmarks.registry import benchmark_for, benchmark_names, find_benchmark
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.prompts import JudgeFile, load_judge_file
from moa_graph.evals.results_file import (
    ANSWERS_FILE,
    GENERATION_MANIFEST,
    JUDGES_FOLDER,
    JUDGING_MANIFEST,
)
from moa_graph.models.recorded import read_json_rows


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
    benchmark: BenchmarkData
    judge: Judge
    method: JudgingMethod
    sources: Mapping[str, JudgeFile]
    """The files that the judge reads."""
    opponent: str | None = None
    """The system that answers are compared with, if it is not the benchmark's reference."""
    judge_folder: Path | None = None
    """Where the judgements are written; by default beside the answers."""
    further_judges: Sequence[str] = ()
    """Names of the folders of the judges after the first one, in its own task."""

    @property
    def folder(self) -> Path:
        """Where the judgements are written."""
        return self.judge_folder or self.answers.folder


def judge_folder(folder: Path, judge: Judge, number: int) -> Path:
    """Say where the judgements of a judge are.

    Args:
        folder: The system's.
        judge: The judge.
        number: Its place among the judges, from 0.
    """
    return folder / JUDGES_FOLDER / _name_judge_folder(judge) if number else folder


def _name_judge_folder(judge: Judge) -> str:
    return re.sub(r"[^\w.-]+", "-", judge.label)


def check_judges_differ(judges: Sequence[Judge]) -> None:
    """Refuse judges whose judgements would overwrite each other.

    Raises:
        ValueError: If two have the same name.
    """
    seen = dict[str, str]()
    for judge in judges:
        if other := seen.get(name := _name_judge_folder(judge)):
            raise ValueError(f"judges: {judge.label!r} and {other!r} have the same name")
        seen[name] = judge.label


def list_judge_folders(folder: Path) -> list[Path]:
    """List where the judgements of a system are, the first judge's first.

    Args:
        folder: The system's. One that was judged before there were several judges has one.

    Raises:
        ValueError: If the list cannot be read.
    """
    path = folder / JUDGING_MANIFEST
    if not path.exists():
        return [folder]
    try:
        names = json.loads(path.read_text(encoding="utf-8")).get("further_judges", [])
        folders = [folder / JUDGES_FOLDER / name for name in names]
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: not written by moa eval judge: {error}") from None
    return [folder, *(each for each in folders if (each / JUDGING_MANIFEST).exists())]


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
    if opponent and not benchmark_for(benchmark.name).compares_systems:
        raise ValueError(f"--against: {benchmark.name} compares with no other system")
    if opponent and opponent.manifest["data"]["sha256"] != benchmark.sha256:
        raise ValueError(f"{against}: answers to other data than {folder}")
    method, sources = build_method(benchmark, judge, files, opponent)
    task = JudgingTask(answers, benchmark, judge, method, sources)
    return replace(task, opponent=opponent.system) if opponent else task


def prepare_judges(
    folder: Path,
    judges: Sequence[Judge],
    *,
    data: Path | None = None,
    files: JudgeFilePaths = JudgeFilePaths(),
    against: Path | None = None,
) -> list[JudgingTask]:
    """Find all that is needed to have a system's answers judged by several judges.

    Args:
        folder: As in `prepare_judging`.
        judges: Who judges. The judgements of the first one are beside the answers.
        data: As in `prepare_judging`.
        files: As in `prepare_judging`.
        against: As in `prepare_judging`.

    Returns:
        A task for each judge.

    Raises:
        ValueError: As in `prepare_judging`, or if two judges have the same name.
    """
    check_judges_differ(judges)
    tasks = [
        replace(
            prepare_judging(folder, judge, data=data, files=files, against=against),
            judge_folder=judge_folder(folder, judge, number),
        )
        for number, judge in enumerate(judges)
    ]
    names = [task.folder.name for task in tasks[1:]]
    return [replace(tasks[0], further_judges=names), *tasks[1:]]


def _load_data(answers: SystemAnswers, path: Path | None) -> BenchmarkData:
    stored, benchmark = answers.manifest["data"], find_benchmark(answers.benchmark)
    if benchmark:
        pinned_file = benchmark.pinned_file
        is_pinned = pinned_file is not None and stored["source"] == pinned_file.url
        data = load_benchmark(answers.benchmark, path or (None if is_pinned else stored["source"]))
    else:
        data = load_benchmark(path or stored["source"])
    if data.sha256 != stored["sha256"]:
        raise ValueError(
            f"{data.source} is not what {answers.folder} answers: sha256 {data.sha256}, "
            f"expected {stored['sha256']}; give the data with --data"
        )
    return replace(data, name=answers.benchmark)


def build_method(
    data: BenchmarkData, judge: Judge, files: JudgeFilePaths, opponent: SystemAnswers | None = None
) -> tuple[JudgingMethod, dict[str, JudgeFile]]:
    """Build the method of a benchmark, and tell what the judge reads.

    Raises:
        ValueError: If a file cannot be had; the message says what to fetch.
    """
    benchmark = benchmark_for(data.name)
    _check_files(benchmark, files)
    reader = JudgeFileLoader(benchmark, files, is_language_model=judge.is_language_model)
    outputs = {item: turns[0] for item, turns in opponent.by_item.items()} if opponent else None
    method = benchmark.build_method(data, reader, outputs)
    if judge.text_verdict and judge.is_language_model:
        method = method.with_text_verdict()
    return method, reader.files_read


class JudgeFileLoader:
    """Loads the files of a judge, and remembers which they are.

    The stand-in reads none that has a substitute, so that none has to be fetched.
    """

    def __init__(
        self, benchmark: Benchmark, paths: JudgeFilePaths, *, is_language_model: bool
    ) -> None:
        self._benchmark, self._paths = benchmark, paths
        self._is_language_model = is_language_model
        self.files_read: dict[str, JudgeFile] = {}

    def was_given(self, part: str) -> bool:
        """Tell whether a file was given."""
        return getattr(self._paths, part, None) is not None

    def read(self, part: str) -> str:
        """Read a file.

        Raises:
            ValueError: If it cannot be had.
        """
        own = self._paths.own_prompt or not self._is_language_model
        file = load_judge_file(self._benchmark, part, getattr(self._paths, part, None), own=own)
        if self._is_language_model or not self._benchmark.judge_files[part].own:
            self.files_read[part] = file
        return file.text


def _check_files(benchmark: Benchmark, files: JudgeFilePaths) -> None:
    """Refuse files that would silently have no effect."""
    for part in ("prompt", "reference_answers", "skills"):
        if getattr(files, part) and part not in benchmark.judge_files:
            users = [n for n in benchmark_names() if part in benchmark_for(n).judge_files]
            raise ValueError(
                f"--{part.replace('_', '-')} has no effect on {benchmark.name}; it is {users[0]}'s"
            )
    if files.own_prompt and files.prompt:
        raise ValueError("give --prompt or --builtin-prompt, not both")


def official_judge_for_folder(folder: Path) -> Judge:
    """Give the benchmark's own judge, for a system's folder."""
    return official_judge_for_benchmark(read_answers(folder).benchmark)


def official_judge_for_benchmark(benchmark: str) -> Judge:
    """Give a benchmark's own judge."""
    return read_judge(benchmark_for(benchmark).judging_method.official_label)
