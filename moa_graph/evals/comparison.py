"""Run a plan: each system answers each benchmark and is judged."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from moa_graph.atomic_files import write_text
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.generate import answer_benchmark
from moa_graph.evals.judging.run import has_judgements, judge_system, write_unjudged
from moa_graph.evals.judging.setup import (
    JudgingTask,
    build_method,
    judge_folder,
    prepare_judges,
)
from moa_graph.evals.plan import BenchmarkEntry, EvalPlan, SystemRun
from moa_graph.evals.probing import PROBES
from moa_graph.evals.proposal_judging import judge_proposals
from moa_graph.runs.job_progress import JobProgress

COMPARISON_FILE = "comparison.json"


@dataclass(frozen=True)
class StepResult:
    """Result of a step."""

    progress: JobProgress
    failures: Mapping[Any, str]
    """Causes of failures, by item."""


@dataclass(frozen=True)
class ComparisonStep:
    """A step of a comparison. A repeated step continues without paying twice."""

    plan: EvalPlan
    entry: BenchmarkEntry
    benchmark: BenchmarkData
    system_run: SystemRun
    kind: Literal["answers", "judgements", "judgements of proposals"]
    out: Path
    is_probe: bool = False
    """Whether it only checks with a few items whether the judge works."""
    judge_number: int = 0
    """Index of the judge among those of the benchmark."""

    @property
    def system(self) -> str:
        """Name of the system's run."""
        return self.system_run.name

    @property
    def title(self) -> str:
        """Description of the step."""
        part = f", the first {len(self.benchmark.items)}" if self.is_probe else ""
        judges = self.plan.judges_for(self.entry)
        several = self.kind == "judgements" and len(judges) > 1
        by = f" by {judges[self.judge_number].label}" if several else ""
        return f"{self.benchmark.name}, {self.system}: {self.kind}{by}{part}"

    @property
    def folder(self) -> Path:
        """Folder of the results."""
        return self.out / self.benchmark.name / self.system

    async def run(
        self,
        call_store: CallStore,
        *,
        max_cost: float | None = None,
        show: Callable[[JobProgress], None] = lambda _: None,
    ) -> StepResult:
        """Run the step.

        Args:
            call_store: The call store, shared by all steps.
            max_cost: As in `run_jobs`, for this step.
            show: As in `run_jobs`.

        Raises:
            ValueError: If a key is missing, or the folder has answers of another system.
            AllFailedError: If the first items all failed with the same cause.
        """
        options: Any = {
            "concurrency": self.plan.concurrency,
            "max_cost": max_cost,
            "show": show,
        }
        if self.kind == "answers":
            generation = await answer_benchmark(
                self.system_run.config,
                self.benchmark,
                self.out,
                call_store,
                name=self.system,
                repeat=self.system_run.number,
                **options,
            )
            return StepResult(generation.progress, generation.failures)
        task = self._prepare_judging()
        if self.kind == "judgements":
            judging = await judge_system(task, call_store, **options)
            return StepResult(judging.progress, judging.failures)
        return StepResult(*await judge_proposals(task, call_store, **options))

    def skip_judge(self) -> None:
        """Record that the judge of this step made no judgements.

        Raises:
            ValueError: As in `run`.
        """
        write_unjudged(self._prepare_judging())

    def _prepare_judging(self) -> JudgingTask:
        judges, files = self.plan.judges_for(self.entry), self.plan.judge_files_for(self.entry)
        return prepare_judges(self.folder, judges, files=files)[self.judge_number]


def list_steps(plan: EvalPlan, out: Path) -> list[ComparisonStep]:
    """Return the steps of a comparison, in order.

    Args:
        plan: The plan.
        out: The folder of the comparison.

    Raises:
        ValueError: If data or prompts are not available. Nothing has been paid for then.
    """
    steps = list[ComparisonStep]()
    for entry in plan.benchmarks:
        benchmark = plan.load_benchmark(entry)
        for judge in plan.judges_for(entry):
            method, _ = build_method(benchmark, judge, plan.judge_files_for(entry))
            for item in benchmark.items:
                method.list_cases(item, item.turns)  # check the files of the judge first
        steps += _benchmark_steps(plan, entry, benchmark, out)
    return steps


def _benchmark_steps(
    plan: EvalPlan, entry: BenchmarkEntry, benchmark: BenchmarkData, out: Path
) -> Iterator[ComparisonStep]:
    yield from _probe_steps(plan, entry, benchmark, out)
    for run in plan.runs_for(entry):
        yield ComparisonStep(plan, entry, benchmark, run, "answers", out)
        for number, _ in enumerate(plan.judges_for(entry)):
            yield ComparisonStep(
                plan, entry, benchmark, run, "judgements", out, judge_number=number
            )
        if run.name in plan.correlation:
            yield ComparisonStep(plan, entry, benchmark, run, "judgements of proposals", out)


def _probe_steps(
    plan: EvalPlan, entry: BenchmarkEntry, benchmark: BenchmarkData, out: Path
) -> Iterator[ComparisonStep]:
    """Return steps in which the judges judge a few items before all are answered."""
    first_run = next(plan.runs_for(entry))
    folder = out / benchmark.name / first_run.name
    unproven = [
        number
        for number, judge in enumerate(plan.judges_for(entry))
        if judge.is_language_model and not has_judgements(judge_folder(folder, judge, number))
    ]
    if not unproven or len(benchmark.items) <= PROBES:
        return
    few = replace(benchmark, items=benchmark.items[:PROBES])
    probe = ComparisonStep(plan, entry, few, first_run, "answers", out, is_probe=True)
    yield probe
    for number in unproven:
        yield replace(probe, kind="judgements", judge_number=number)


def write_comparison_file(plan: EvalPlan, out: Path) -> None:
    """Write the names of the folders in `out`, for the report."""
    runs = {name: plan.runs_of(name, config) for name, config in plan.configs.items()}
    content = {
        "systems": [run.name for each in runs.values() for run in each],
        "runs": {name: [run.name for run in each] for name, each in runs.items() if len(each) > 1},
        "named": list(plan.mixtures),
        "points": [
            {
                "of": point.of,
                "analysis": point.analysis,
                "curve": point.variant.curve,
                "x": point.variant.x,
                "system": point.variant.name,
                "against": point.variant.against,
            }
            for point in plan.points
        ],
        "correlation": plan.correlation,
        "published": plan.published,
        "prices": plan.prices,
        "sizes": plan.sizes,
        "gamed_baselines": plan.gamed_baselines and str(plan.resolve_path(plan.gamed_baselines)),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / COMPARISON_FILE, json.dumps(content, indent=2, ensure_ascii=False))
