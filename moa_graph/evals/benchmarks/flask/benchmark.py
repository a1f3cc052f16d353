"""FLASK as a benchmark of `moa eval`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.flask.judge import FlaskMethod
from moa_graph.evals.benchmarks.flask.score import (
    FlaskScore,
    flask_score,
    read_official_scores,
)
from moa_graph.evals.benchmarks.formatting import format_number
from moa_graph.evals.benchmarks.protocol import Benchmark, JudgeFileReader, OfficialJudgement
from moa_graph.evals.judging.cases import JudgingMethod
from moa_graph.evals.pinned_files import JudgeFileOrigin, PinnedFile
from moa_graph.evals.ratings import RatingScale, round_to_scale
from moa_graph.evals.results_file import JsonRow, format_json_lines

_REVISION = "0a0e02e6b9b17df91074f639fe1e5f7256fd68a5"
_MOA = "https://raw.githubusercontent.com/togethercomputer/MoA/"
_MOA_REVISION = "819420ff2240a391271f9faf035e9a5f3216cb9c"


class Flask(Benchmark):
    """Instructions with reference answers; a review scores three skills from 1 to 5."""

    name = "flask"
    pinned_file: PinnedFile | None = PinnedFile(
        f"https://raw.githubusercontent.com/kaistAI/FLASK/{_REVISION}/"
        "evaluation_set/flask_evaluation.jsonl",
        _REVISION,
        1740,
        size=2_301_319,
    )
    id_keys = ("idx",)
    required_keys = ("instruction", "answer", "skill")
    judging_method = FlaskMethod
    score_bounds = (1, 5)
    judge_files = {  # noqa: RUF012  # as the protocol has it
        # The hash is that of a stored copy of the revision; it was not verified by a download.
        "prompt": JudgeFileOrigin(
            PinnedFile(
                f"{_MOA}{_MOA_REVISION}/FLASK/gpt_review/src/prompt.jsonl",
                _MOA_REVISION,
                row_count=0,
                sha256="64836bb1eb6940e7ddbbbf0ea66265191bfd49476036ca15fc2660bbfa326134",
            ),
            own=Path(__file__).with_name("flask.jsonl"),
        ),
        "skills": JudgeFileOrigin(
            PinnedFile(
                f"{_MOA}{_MOA_REVISION}/FLASK/metadata_annotation/skillset/src/"
                "skillset_description.json",
                _MOA_REVISION,
                row_count=0,
                sha256="78f03c29f5a6510b76b8a765cb539c302d69898b7e4d7c68372c9cc2427e595e",
            ),
            own=Path(__file__).with_name("flask_skills.json"),
        ),
    }
    # Estimated from the 89 hard ones, which have 684.
    typical_turn_bytes = (450,)
    judge_prompt_tokens = 900

    def format_outputs(self, system: str, rows: Sequence[JsonRow]) -> tuple[str, str]:
        """Return the answers in the format of FLASK's code."""
        outputs = ({"question_id": row["id"], "text": row["turns"][0]["answer"]} for row in rows)
        return f"{system}.jsonl", format_json_lines(outputs)

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the review with the rubrics of the skills."""
        return FlaskMethod(files.read("prompt"), files.read("skills"))

    def format_judgements(
        self,
        system: str,
        judge: str,
        judged: Sequence[OfficialJudgement],
    ) -> tuple[str, str] | None:
        """Return the reviews in the format of FLASK's code."""
        lines = (_format_review(each) for each in judged)
        return f"{system}_review.jsonl", format_json_lines(lines)

    def score(
        self,
        rows: Sequence[JsonRow],
        judging: Mapping[str, Any],
        baselines: Any,
    ) -> FlaskScore:
        """Return the mean score by skill, domain and difficulty."""
        return flask_score(
            [row.get("scores") or {} for row in rows],
            [row["domains"] for row in rows],
            [row["difficulty"] for row in rows],
        )

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Average over the applicable skills."""
        scores = {
            row["id"]: [value for value in row["scores"].values() if value is not None]
            for row in judged
        }
        return {item: fmean(values) for item, values in scores.items() if values}

    rating_scale = RatingScale("score from 1 to 5", range(1, 6), is_graded=True)

    def list_ratings(self, row: JsonRow) -> Mapping[str, int]:
        """Return the score of each applicable skill as a whole number."""
        return {
            skill: round_to_scale(score, self.rating_scale)
            for skill, score in row["scores"].items()
            if score is not None
        }

    def metric(self, *, is_headline: bool) -> str:
        """Return the name of the score."""
        return "mean score, 1 to 5"

    def report_cells(self, figures: FlaskScore) -> dict[str, str]:
        """Return the number of scores."""
        return {
            "scores": f"{figures.scored:,}",
            "not applicable": f"{figures.not_applicable:,}",
            "incomplete": f"{figures.incomplete:,}",
        }

    def group_means(self, figures: FlaskScore) -> Mapping[str, Mapping[str, float | None]]:
        """Return the means by skill, domain and difficulty."""
        return {
            "skill": {**figures.skills},
            "domain": {**figures.domains},
            "difficulty": dict(sorted(figures.difficulties.items())),
        }

    def radar_means(self, figures: FlaskScore) -> Mapping[str, float | None]:
        """Return the means of the skills."""
        return {**figures.skills}

    def score_table(self, systems: Sequence[FlaskScore]) -> list[tuple[str, list[str]]]:
        """Return the mean scores by skill, domain and difficulty."""
        rows: list[tuple[str, list[str]]] = []
        for title in ("skills", "domains", "difficulties"):
            means: list[Mapping[str, float]] = [getattr(each, title) for each in systems]
            rows.append((title, [""] * len(systems)))
            names = dict.fromkeys(name for each in means for name in each)
            rows += [
                (f"  {name}", [format_number(each.get(name), 2) for each in means])
                for name in names
            ]
        rows.append(("scores", [f"{each.scored:,}" for each in systems]))
        return [*rows, ("not applicable", [f"{each.not_applicable:,}" for each in systems])]


def _format_review(judged: OfficialJudgement) -> JsonRow:
    """Return a line of `gpt_review/outputs`: the question, and the fields that FLASK's code adds.

    That code reads names of fields that the published data no longer have, so the line has both.
    """
    item, row = judged.case.item, judged.row
    return {
        **item.row,
        "question_id": item.id,
        "text": item.turns[0],
        "metrics": row["skills"],
        "domain_labeled": row["domains"],
        "difficulty_labeled": row["difficulty"],
        "target_txt": judged.case.answers[0],
        "review": row["review"],
        "score": read_official_scores(row["review"]),
        "total_tokens_step4": row["usage"]["total_tokens"] if row["usage"] else None,
    }
