"""Files and prompts for judging a system on a benchmark."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.exact.benchmark import ExactBenchmark
from moa_graph.evals.benchmarks.exact.judge import ExactMethod
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
from moa_graph.evals.scorers.table import find_scorer
from moa_graph.models.recorded import read_json_rows


@dataclass(frozen=True)
class SystemAnswers:
    """The results of `moa eval generate` in a folder."""

    folder: Path
    system: str
    benchmark: str
    manifest: Mapping[str, Any]
    by_item: Mapping[str | int, Sequence[str]]
    """Answers by item, turn by turn."""

    @property
    def sha256(self) -> str:
        """Hash of the answers, to detect changes."""
        rows = sorted((str(item), list(answers)) for item, answers in self.by_item.items())
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@dataclass(frozen=True)
class JudgeFilePaths:
    """Files of the user that replace the published ones."""

    prompt: Path | None = None
    reference_answers: Path | None = None
    skills: Path | None = None
    own_prompt: bool = False
    """Whether to use the prompts of this package instead of the benchmark's."""


@dataclass(frozen=True)
class JudgingTask:
    """Answers to judge, and the method."""

    answers: SystemAnswers
    benchmark: BenchmarkData
    judge: Judge
    method: JudgingMethod
    sources: Mapping[str, JudgeFile]
    """Files of the judge."""
    opponent: str | None = None
    """The system to compare with, if it is not the benchmark's reference."""
    judge_folder: Path | None = None
    """Folder of the judgements; by default that of the answers."""
    further_judges: Sequence[str] = ()
    """Folder names of the further judges, in the task of the first one."""

    @property
    def folder(self) -> Path:
        """Folder of the judgements."""
        return self.judge_folder or self.answers.folder


def judge_folder(folder: Path, judge: Judge, number: int) -> Path:
    """Return the folder of a judge's judgements.

    Args:
        folder: Folder of the system.
        judge: The judge.
        number: Index of the judge, from 0.
    """
    return folder / JUDGES_FOLDER / _name_judge_folder(judge) if number else folder


def _name_judge_folder(judge: Judge) -> str:
    return re.sub(r"[^\w.-]+", "-", judge.label)


def check_judges_differ(judges: Sequence[Judge]) -> None:
    """Reject judges whose judgements would overwrite each other or could not be combined.

    Raises:
        ValueError: If two have the same name, or a scorer is not the only one.
    """
    scorers = [judge.label for judge in judges if judge.scorer is not None]
    if scorers and len(judges) > 1:
        raise ValueError(f"judges: {scorers[0]!r} is not the only one; expected a scorer alone")
    seen = dict[str, str]()
    for judge in judges:
        if other := seen.get(name := _name_judge_folder(judge)):
            raise ValueError(f"judges: {judge.label!r} and {other!r} have the same name")
        seen[name] = judge.label


def list_judge_folders(folder: Path) -> list[Path]:
    """Return the folders of a system's judgements, the first judge's first.

    Args:
        folder: Folder of the system. Results of older versions have one judge.

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
        ValueError: If the folder has none.
    """
    try:
        manifest = json.loads((folder / GENERATION_MANIFEST).read_text(encoding="utf-8"))
        rows = {
            row["id"]: row for row in read_json_rows(folder / ANSWERS_FILE)
        }  # the last row counts
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
    """Load the files and the method for judging the answers of a system.

    Args:
        folder: Folder of the system, as `moa eval generate` writes it.
        judge: The judge.
        data: Data of the benchmark; by default those that were answered.
        files: Files that replace the published prompts and reference answers.
        against: Folder of another system to compare with, instead of the reference in the data.
            The user's own prompts are compared too, like AlpacaEval's.

    Raises:
        ValueError: If something is missing or does not match.
    """
    answers = read_answers(folder)
    benchmark = _load_data(answers, data)
    opponent = read_answers(against) if against else None
    if opponent and not benchmark_for(benchmark.name, judge.label).compares_systems:
        raise ValueError(f"--against: {benchmark.name} does not compare with other systems")
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
    """Load everything for judging a system's answers by several judges.

    Args:
        folder: As in `prepare_judging`.
        judges: The judges. The judgements of the first one are beside the answers.
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
    """Build the method of a benchmark, and return it with the files of the judge.

    Raises:
        ValueError: If a file is not available; the message says what to download.
    """
    benchmark = benchmark_for(data.name, judge.label)
    _check_files(benchmark, files)
    if judge.scorer is not None or isinstance(benchmark, ExactBenchmark):
        return _build_exact_method(benchmark, judge), {}
    reader = JudgeFileLoader(benchmark, files, is_language_model=judge.is_language_model)
    outputs = {item: turns[0] for item, turns in opponent.by_item.items()} if opponent else None
    method = benchmark.build_method(data, reader, outputs)
    if judge.text_verdict and judge.is_language_model:
        method = method.with_text_verdict()
    return method, reader.files_read


def _build_exact_method(benchmark: Benchmark, judge: Judge) -> JudgingMethod:
    if judge.scorer is None:
        raise ValueError(
            f"judge {judge.label}: {benchmark.name} is scored exactly; expected "
            f"{benchmark.official_judge} or another scorer"
        )
    scorer = find_scorer(judge.scorer)
    if not isinstance(benchmark, ExactBenchmark):
        raise ValueError(f"{judge.label}: {benchmark.name} is judged by a model, not by a scorer")
    if scorer.runs_code and not judge.run_code:
        raise ValueError(
            f"{judge.label} runs on this machine what models wrote; give --run-code to allow that"
        )
    return ExactMethod(scorer, benchmark.official_judge)


class JudgeFileLoader:
    """Loads the files of a judge, and records them.

    The stand-in does not use files that have a substitute, so these need no download.
    """

    def __init__(
        self, benchmark: Benchmark, paths: JudgeFilePaths, *, is_language_model: bool
    ) -> None:
        self._benchmark, self._paths = benchmark, paths
        self._is_language_model = is_language_model
        self.files_read: dict[str, JudgeFile] = {}

    def was_given(self, part: str) -> bool:
        """Return whether the user has provided a file."""
        return getattr(self._paths, part, None) is not None

    def read(self, part: str) -> str:
        """Read a file.

        Raises:
            ValueError: If it is not available.
        """
        own = self._paths.own_prompt or not self._is_language_model
        file = load_judge_file(self._benchmark, part, getattr(self._paths, part, None), own=own)
        if self._is_language_model or not self._benchmark.judge_files[part].own:
            self.files_read[part] = file
        return file.text


def _check_files(benchmark: Benchmark, files: JudgeFilePaths) -> None:
    """Reject files that would silently have no effect."""
    for part in ("prompt", "reference_answers", "skills"):
        if getattr(files, part) and part not in benchmark.judge_files:
            users = [n for n in benchmark_names() if part in benchmark_for(n).judge_files]
            raise ValueError(
                f"--{part.replace('_', '-')} has no effect on {benchmark.name}; it is {users[0]}'s"
            )
    if files.own_prompt and files.prompt:
        raise ValueError("give --prompt or --builtin-prompt, not both")


def official_judge_for_folder(folder: Path) -> Judge:
    """Return the benchmark's own judge for the folder of a system."""
    return official_judge_for_benchmark(read_answers(folder).benchmark)


def official_judge_for_benchmark(benchmark: str) -> Judge:
    """Return a benchmark's own judge."""
    return read_judge(benchmark_for(benchmark).official_judge)
