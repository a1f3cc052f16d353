"""AlpacaEval 2.0, and the user's own prompts judged in the same way."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.alpaca_eval.baselines import LengthControlBaselines
from moa_graph.evals.benchmarks.alpaca_eval.judge import AlpacaEvalMethod
from moa_graph.evals.benchmarks.alpaca_eval.score import (
    TIE,
    LengthControlled,
    WinRate,
    length_controlled_win_rate,
    win_rate,
)
from moa_graph.evals.benchmarks.formatting import format_number, format_with_error
from moa_graph.evals.benchmarks.protocol import Benchmark, JudgeFileReader, OfficialJudgement
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.pinned_files import JudgeFileOrigin, PinnedFile
from moa_graph.evals.ratings import AnswerComparison, RatingScale, Reading
from moa_graph.evals.results_file import JsonRow

_REVISION = "2edc6fad8be6b14ea7230aabfd08188da6b8b814"
_PROMPT_PATH = "evaluators_configs/alpaca_eval_clf_gpt4_turbo/alpaca_eval_clf.txt"
_LENGTH_CONTROLLED = "length-controlled win rate"
_LENGTH_ADJUSTED = "win rate adjusted for length by another table than AlpacaEval's"


@dataclass(frozen=True)
class AlpacaEvalScore:
    """Win rates of a system against the reference."""

    win_rate: WinRate
    length_controlled: LengthControlled | None
    unavailable: str | None
    """Why the length-controlled win rate is missing; `None` if it is not."""
    mean_length: float
    """Mean number of characters of an answer."""
    other_table: str | None = None
    """Table of gamed baselines, if it is not the published one."""


class AlpacaEval(Benchmark):
    """Preference over a reference answer, from the probabilities of the judge's first token."""

    name = "alpaca_eval"
    # The file also contains the answers of the reference.
    pinned_file: PinnedFile | None = PinnedFile(
        "https://huggingface.co/datasets/tatsu-lab/alpaca_eval/resolve/"
        f"{_REVISION}/alpaca_eval_gpt4_baseline.json",
        _REVISION,
        805,
        sha256="83db546b872ddebee8965fd05fa48461ee3c32bc695c62fb57f2d214ff741ec4",
    )
    id_keys: Sequence[str] = ()
    required_keys: Sequence[str] = ("instruction",)
    judging_method = AlpacaEvalMethod
    score_bounds = (0, 100)
    judge_files = {  # noqa: RUF012  # as the protocol has it
        "prompt": JudgeFileOrigin(
            PinnedFile(
                "https://raw.githubusercontent.com/tatsu-lab/alpaca_eval/main/src/alpaca_eval/"
                + _PROMPT_PATH,
                "main",
                row_count=0,
                sha256="784227e6dc2832fc08c43d2c8ea3a308e7523780187a1aaad2f85e30bac85f62",
            ),
            "alpaca_eval",
            _PROMPT_PATH,
            own=Path(__file__).with_name("alpaca_eval.txt"),
        )
    }
    compares_systems = True
    paper_table: str | None = "table_2a"
    paper_has_analyses = True
    quality_note = "; ± is a standard error"
    typical_turn_bytes = (175,)
    judge_prompt_tokens = 450
    _has_difficulty = True
    """Whether the gamed baselines contain the difficulty of each instruction."""

    def format_outputs(self, system: str, rows: Sequence[JsonRow]) -> tuple[str, str]:
        """Return the answers in the format of the package alpaca_eval."""
        outputs = [
            {
                "dataset": row["category"],
                "instruction": row["turns"][0]["instruction"],
                "output": row["turns"][0]["answer"],
                "generator": system,
            }
            for row in rows
        ]
        return "model_outputs.json", json.dumps(outputs, indent=2, ensure_ascii=False)

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the comparison with the reference, or with another system."""
        return AlpacaEvalMethod(files.read("prompt"), opponent)

    def format_judgements(
        self, system: str, judge: str, judged: Sequence[OfficialJudgement]
    ) -> tuple[str, str] | None:
        """Return the annotations in the format of the package alpaca_eval."""
        annotations = [
            {
                "instruction": case.item.turns[0],
                "output_1": case.references[0],
                "generator_1": opponent or case.item.row.get("generator"),
                "dataset": case.item.category,
                "output_2": case.answers[0],
                "generator_2": system,
                "annotator": judge,
                "preference": row["preference"],
                "raw_completion": row.get("logprobs"),
            }
            for case, row, _, opponent in judged
        ]
        return "annotations.json", json.dumps(annotations, indent=2, ensure_ascii=False)

    def score(
        self, rows: Sequence[JsonRow], judging: Mapping[str, Any], baselines: Any
    ) -> AlpacaEvalScore:
        """Return win rates, including the length-controlled one if it is defined."""
        return _score_alpaca_eval(rows, self._usable_baselines(baselines, judging))

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Return the points of each instruction for the win rate."""
        return {row["id"]: 100 * (row["preference"] - 1) for row in judged}

    rating_scale = RatingScale("loss, tie or win", (-1, 0, 1), is_graded=False)

    def list_ratings(self, row: JsonRow) -> Mapping[str, int]:
        """Return the verdict, as in the discrete win rate."""
        return {"verdict": (row["preference"] > TIE) - (row["preference"] < TIE)}

    def read_comparison(self, row: JsonRow) -> AnswerComparison:
        """Return the preference, and the order in which the judge read the answers."""
        preference = row["preference"] - 1
        readings = list[Reading]()
        if "first_order" in row:  # in the first order, the reference's answer is first
            readings = [
                Reading(is_first=False, preference=row["first_order"] - 1),
                Reading(is_first=True, preference=row["second_order"] - 1),
            ]
        elif "logprobs" in row:
            readings = [Reading(is_first=row["switched"], preference=preference)]
        return AnswerComparison(preference, row["model_length"], row["reference_length"], readings)

    def metric(self, *, is_headline: bool) -> str:
        """Return the name of the win rate."""
        return f"{_LENGTH_CONTROLLED if is_headline else 'win rate'}, %"

    def headline(self, figures: AlpacaEvalScore) -> float | None:
        """Return the length-controlled win rate.

        Its standard error describes differences between instructions, not the uncertainty of the
        rate.
        """
        return figures.length_controlled.win_rate if figures.length_controlled else None

    def headline_metric(self, figures: AlpacaEvalScore) -> str:
        """Return the name; it is "length-controlled" only with the published table."""
        return f"{_LENGTH_ADJUSTED if figures.other_table else _LENGTH_CONTROLLED}, %"

    def headline_by_instruction(
        self, figures: AlpacaEvalScore, rows: Sequence[JsonRow]
    ) -> Mapping[str | int, float]:
        """Return the contributions to the length-controlled win rate."""
        if not figures.length_controlled:
            return {}
        contributions = figures.length_controlled.contributions.tolist()
        return dict(zip((row["id"] for row in rows), contributions, strict=True))

    def figure_labels(self, figures: AlpacaEvalScore) -> Sequence[str]:
        """Return a label if the table is not the published one."""
        if not figures.other_table:
            return ()
        return (f"{figures.other_table} is not AlpacaEval's table: no length-controlled win rate",)

    def report_cells(self, figures: AlpacaEvalScore) -> dict[str, str]:
        """Return the three win rates, and the length of answers."""
        won = figures.win_rate
        return {
            _length_controlled_column(figures): _format_length_controlled(figures),
            "win rate %": format_with_error(won.win_rate, won.standard_error),
            "discrete %": format_number(won.discrete_win_rate),
            "characters": f"{figures.mean_length:,.0f}",
        }

    def missing_figures(self, figures: AlpacaEvalScore) -> Mapping[str, str]:
        """Return why the length-controlled win rate is missing."""
        return {_LENGTH_CONTROLLED: figures.unavailable} if figures.unavailable else {}

    def score_table(self, systems: Sequence[AlpacaEvalScore]) -> list[tuple[str, list[str]]]:
        """Return the win rates, the plain one first."""
        cells = [self.report_cells(figures) for figures in systems]
        names = {"characters": "mean length"}
        controlled = dict.fromkeys(map(_length_controlled_column, systems))
        columns = ("win rate %", "discrete %", *controlled, "characters")
        return [(names.get(key, key), [each.get(key, "-") for each in cells]) for key in columns]

    def _usable_baselines(
        self, baselines: LengthControlBaselines | str, judging: Mapping[str, Any]
    ) -> LengthControlBaselines | str:
        """Return the gamed baselines if they match these judgements."""
        if judging["compared_with"]:
            return "it is defined against the benchmark's reference only"
        if not self._has_difficulty:
            return "it is defined for AlpacaEval's instructions only"
        if isinstance(baselines, LengthControlBaselines) and not judging["data"]["revision"]:
            return "the gamed baselines belong to the published instructions, and these are others"
        return baselines


class OwnPrompts(AlpacaEval):
    """The user's own prompts, judged as those of AlpacaEval."""

    pinned_file = None
    id_keys = Benchmark.id_keys
    required_keys = ()
    paper_table = None
    paper_has_analyses = False
    _has_difficulty = False

    def __init__(self, name: str) -> None:
        self.name = name

    format_outputs = Benchmark.format_outputs


def _length_controlled_column(figures: AlpacaEvalScore) -> str:
    return "length-adjusted (other table) %" if figures.other_table else "length-controlled %"


def _format_length_controlled(figures: AlpacaEvalScore) -> str:
    estimate = figures.length_controlled
    return (
        format_with_error(estimate.win_rate, estimate.standard_error) if estimate else "unavailable"
    )


def _score_alpaca_eval(
    rows: Sequence[JsonRow], baselines: LengthControlBaselines | str
) -> AlpacaEvalScore:
    preferences = [row.get("preference") for row in rows]
    lengths = [row["model_length"] for row in rows]
    fitted, reason = None, baselines if isinstance(baselines, str) else None
    if isinstance(baselines, LengthControlBaselines):
        try:
            difficulty = [baselines.difficulty[row["id"]] for row in rows]
            references = [row["reference_length"] for row in rows]
            fitted = length_controlled_win_rate(
                preferences, lengths, references, difficulty, baselines.columns
            )
        except KeyError as missing:
            reason = f"{baselines.source} has no instruction {missing}"
        except ValueError as error:
            reason = str(error)
    other = None
    if fitted and isinstance(baselines, LengthControlBaselines) and not baselines.is_published:
        other = f"{baselines.source} (sha256 {baselines.sha256[:8]}…)"
    return AlpacaEvalScore(win_rate(preferences), fitted, reason, fmean(lengths), other)
