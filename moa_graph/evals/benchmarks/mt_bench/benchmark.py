"""MT-Bench as a benchmark of `moa eval`."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from time import time
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData, BenchmarkItem
from moa_graph.evals.benchmarks.formatting import format_number
from moa_graph.evals.benchmarks.mt_bench.judge import MTBenchMethod
from moa_graph.evals.benchmarks.mt_bench.score import MTBenchScore, mt_bench_score
from moa_graph.evals.benchmarks.protocol import Benchmark, JudgeFileReader, OfficialJudgement
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.pinned_files import JudgeFileOrigin, PinnedFile
from moa_graph.evals.ratings import RatingScale, round_to_scale
from moa_graph.evals.results_file import JsonRow, format_json_lines

MAX_TOKENS = 1024
DEFAULT_TEMPERATURE = 0.7
"""Temperature of other categories."""
TEMPERATURES = {
    **dict.fromkeys(("writing", "roleplay"), 0.7),
    **dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0),
    **dict.fromkeys(("stem", "humanities"), 0.1),
}
TURNS = 2  # turns of each conversation

_FASTCHAT = "https://raw.githubusercontent.com/lm-sys/FastChat/"
_REVISION = "587d5cfa1609a43d192cedb8441cac3c17db105d"
_PROMPT_REVISION = "0e6e7fdc78bf64aceea1508694ce4e6472810b8b"
_PROMPT_SHA256 = {
    "single-v1": "dc80f787e62cfd9cf210aa2216091c214ef0fb578c46e1728e5677d2a62a4a9c",
    "single-math-v1": "707013b2a70bf1e71d9c7e65e23de307924589eb75147ab628d098e0a3bad2bb",
    "single-v1-multi-turn": "8951791b4dde32a091b4efb1d4ac8d1654d8faef4032f5347297881b3a8740b0",
    "single-math-v1-multi-turn": "4c0e2dca29cea50cd5c17e7b6fbd4a681f04ea07da4c010e5082c1979ee018bc",
}


class MTBench(Benchmark):
    """Conversations of two turns; each answer gets a rating from 1 to 10."""

    name = "mt_bench"
    pinned_file: PinnedFile | None = PinnedFile(
        f"{_FASTCHAT}{_REVISION}/fastchat/llm_judge/data/mt_bench/question.jsonl",
        _REVISION,
        80,
        sha256="119565adbab82227089cefdb44c8d7e2cf04dc0a0ec233634c82e7d4e2a944f7",
    )
    id_keys = ("question_id",)
    required_keys = ("question_id", "category", "turns")
    judging_method = MTBenchMethod
    score_bounds = (0, 10)
    judge_files = {  # noqa: RUF012  # as the protocol has it
        # June 2023. Later files contain further prompts, but the same four.
        "prompt": JudgeFileOrigin(
            PinnedFile(
                f"{_FASTCHAT}{_PROMPT_REVISION}/fastchat/llm_judge/data/judge_prompts.jsonl",
                _PROMPT_REVISION,
                row_count=0,
                sha256="8baddf43f95f8c1a88166163b171f1cd68e9d8ce8606f867734d4b0efe38b98d",
            ),
            prompt_sha256=_PROMPT_SHA256,
            own=Path(__file__).with_name("mt_bench.jsonl"),
        ),
        "reference_answers": JudgeFileOrigin(
            PinnedFile(
                f"{_FASTCHAT}{_REVISION}/fastchat/llm_judge/data/mt_bench/reference_answer/"
                "gpt-4.jsonl",
                _REVISION,
                row_count=0,
                sha256="f957a5bc977badb66885ec970e6cd08527845780313f0995764260e5777b9b3f",
            ),
        ),
    }
    paper_table = "table_2b"
    typical_turn_bytes = (202, 202)
    judge_prompt_tokens = 350
    judges_each_turn = True
    judge_reads_reference = False
    # Temperatures are equal for all systems, so any value is fine here.
    estimated_call_options = {"temperature": 0.0, "max_tokens": MAX_TOKENS}  # noqa: RUF012

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row without two turns."""
        super().check_row(row)
        if not (isinstance(row["turns"], list) and len(row["turns"]) == TURNS):
            raise ValueError(
                f"`turns`: expected a list of two texts, as {self.name} has, got {row['turns']!r}"
            )

    def call_options(self, item: BenchmarkItem) -> Mapping[str, Any]:
        """Return the length of answers, and the temperature of the category."""
        default = TEMPERATURES.get(item.category or "", DEFAULT_TEMPERATURE)
        temperature = float(item.row.get("required_temperature", default))
        return {"temperature": temperature, "max_tokens": MAX_TOKENS}

    def format_outputs(self, system: str, rows: Sequence[JsonRow]) -> tuple[str, str]:
        """Return the answers in FastChat's format."""
        outputs = (
            {
                "question_id": row["id"],
                "answer_id": row["answer_id"],
                "model_id": system,
                "choices": [{"index": 0, "turns": [turn["answer"] for turn in row["turns"]]}],
                "tstamp": row["ended"],
            }
            for row in rows
        )
        return f"{system}.jsonl", format_json_lines(outputs)

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the grading with the published reference answers, or those in the user's data."""
        prompt, references = files.read("prompt"), None
        if files.was_given("reference_answers") or data.revision:
            references = files.read("reference_answers")
        return MTBenchMethod(prompt, references)

    def format_judgements(
        self, system: str, judge: str, judged: Sequence[OfficialJudgement]
    ) -> tuple[str, str] | None:
        """Return the judgements in FastChat's format."""
        judge_name = judge.partition(":")[2]
        lines = (
            {
                "question_id": row["id"],
                "model": system,
                "judge": [judge_name, row["prompt"]],
                "user_prompt": prompt,
                "judgment": row["judgement"],
                "score": row["score"],
                "turn": row["turn"],
                "tstamp": time(),
            }
            for _, row, prompt, _ in judged
        )
        file_name = re.sub(r"[^\w.-]+", "-", judge_name)
        return f"{file_name}_single.jsonl", format_json_lines(lines)

    def score(
        self,
        rows: Sequence[JsonRow],
        judging: Mapping[str, Any],
        baselines: Any,
    ) -> MTBenchScore:
        """Return the mean rating by turn and by category."""
        return mt_bench_score(
            [row.get("score") for row in rows],
            [row["turn"] for row in rows],
            [row["category"] or "general" for row in rows],
        )

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Average over the turns of an item."""
        ratings = defaultdict[str | int, list[float]](list)
        for row in judged:
            ratings[row["id"]].append(row["score"])
        return {item: fmean(values) for item, values in ratings.items()}

    rating_scale = RatingScale("grade from 1 to 10", range(1, 11), is_graded=True)

    def list_ratings(self, row: JsonRow) -> Mapping[str, int]:
        """Return the rating of a turn as a whole number."""
        return {f"turn {row['turn']}": round_to_scale(row["score"], self.rating_scale)}

    def metric(self, *, is_headline: bool) -> str:
        """Return the name of the rating."""
        return "mean rating, 1 to 10"

    def report_cells(self, figures: MTBenchScore) -> dict[str, str]:
        """Return the mean ratings by turn."""
        return {
            "average": format_number(figures.both, 2),
            "first turn": format_number(figures.first_turn, 2),
            "second turn": format_number(figures.second_turn, 2),
        }

    def group_means(self, figures: MTBenchScore) -> Mapping[str, Mapping[str, float | None]]:
        """Return the means by category."""
        return {"category": {**figures.categories}}

    def score_table(self, systems: Sequence[MTBenchScore]) -> list[tuple[str, list[str]]]:
        """Return the mean ratings by turn and by category."""
        rows = [
            ("both turns", [format_number(each.both, 2) for each in systems]),
            ("first turn", [format_number(each.first_turn, 2) for each in systems]),
            ("second turn", [format_number(each.second_turn, 2) for each in systems]),
        ]
        names = dict.fromkeys(name for each in systems for name in each.categories)
        rows += [
            (f"  {name}", [format_number(each.categories.get(name), 2) for each in systems])
            for name in names
        ]
        return [*rows, ("rated", [f"{each.rated:,}" for each in systems])]
