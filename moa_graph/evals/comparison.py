"""Work through a plan: each system answers each benchmark and is judged, step by step."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from moa_graph.evals.call_store import Ledger
from moa_graph.evals.datasets import Benchmark
from moa_graph.evals.generate import generate
from moa_graph.evals.judging.run import judge
from moa_graph.evals.judging.setup import build_method, prepare
from moa_graph.evals.plan import Measured, Plan
from moa_graph.evals.proposal_judging import judge_proposals
from moa_graph.evals.results_file import write_text
from moa_graph.runs.jobs import Tally

ACCOUNT = "comparison.json"


@dataclass(frozen=True)
class Done:
    """What came of a step."""

    tally: Tally
    failures: Mapping[Any, str]
    """Why something is missing, by item."""


@dataclass(frozen=True)
class Step:
    """A part of a comparison. Done again, it goes on, and pays for nothing twice."""

    plan: Plan
    measured: Measured
    benchmark: Benchmark
    system: str
    kind: Literal["answers", "judgements", "judgements of proposals"]
    out: Path

    @property
    def title(self) -> str:
        """What is done."""
        return f"{self.benchmark.name}, {self.system}: {self.kind}"

    @property
    def folder(self) -> Path:
        """Where it is written."""
        return self.out / self.benchmark.name / self.system

    async def work(
        self,
        ledger: Ledger,
        *,
        max_cost: float | None = None,
        show: Callable[[Tally], None] = lambda _: None,
    ) -> Done:
        """Do it.

        Args:
            ledger: Where each call is kept: the same for all steps.
            max_cost: As in `work_through`, for this step.
            show: As in `work_through`.

        Raises:
            ValueError: If a key is missing, or the folder has the answers of another system.
        """
        options: Any = {
            "concurrency": self.plan.concurrency,
            "max_cost": max_cost,
            "show": show,
        }
        if self.kind == "answers":
            config = self.plan.configs[self.system]
            made = await generate(
                config, self.benchmark, self.out, ledger, name=self.system, **options
            )
            return Done(made.tally, made.failures)
        chosen, files = self.plan.judge_of(self.measured), self.plan.files_of(self.measured)
        task = prepare(self.folder, chosen, files=files)
        if self.kind == "judgements":
            judged = await judge(task, ledger, **options)
            return Done(judged.tally, judged.failures)
        return Done(*await judge_proposals(task, ledger, **options))


def list_steps(plan: Plan, out: Path) -> list[Step]:
    """Give the steps of a comparison, in order: it is done when all are.

    Args:
        plan: The plan.
        out: The folder of the comparison.

    Raises:
        ValueError: If data or prompts cannot be had. Nothing was paid for then.
    """
    steps = list[Step]()
    for measured in plan.benchmarks:
        benchmark = plan.load_benchmark(measured)
        method, _ = build_method(benchmark, plan.judge_of(measured), plan.files_of(measured))
        for item in benchmark.items:
            method.cases(item, item.turns)  # whether all is there that the judge needs
        steps += _steps(plan, measured, benchmark, out)
    return steps


def _steps(plan: Plan, measured: Measured, benchmark: Benchmark, out: Path) -> Iterator[Step]:
    for name in plan.systems_on(measured):
        yield Step(plan, measured, benchmark, name, "answers", out)
        yield Step(plan, measured, benchmark, name, "judgements", out)
        if name in plan.correlation:
            yield Step(plan, measured, benchmark, name, "judgements of proposals", out)


def write_account(plan: Plan, out: Path) -> None:
    """Write down what the folders in `out` are, for the report."""
    account = {
        "systems": list(plan.configs),
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
        "gamed_baselines": plan.gamed_baselines and str(plan.place(plan.gamed_baselines)),
    }
    out.mkdir(parents=True, exist_ok=True)
    write_text(out / ACCOUNT, json.dumps(account, indent=2, ensure_ascii=False))
