"""Published benchmarks with exact answers, read from files of the user."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.evals.benchmarks.exact.benchmark import FileBenchmark
from moa_graph.evals.scorers.ifeval import unknown_instructions

_ANSWER_LINE = "Think it through, and end with a line “Answer: X”, where X is {what}."
_BLANK_OPTION = "N/A"  # placeholder in the first version of MMLU-Pro


def _format_choice(question: str, options: Sequence[str]) -> str:
    lines = [f"{chr(ord('A') + place)}) {option}" for place, option in enumerate(options)]
    request = _ANSWER_LINE.format(what="the letter of the right option")
    return "\n".join([question.strip(), "", *lines, "", request])


class GSM8K(FileBenchmark):
    """Word problems with a number as the answer, after `####` in the `answer` of the file."""

    name = "gsm8k"
    scorer_name = "number"
    required_keys = ("question", "answer")
    source = "test.jsonl of github.com/openai/grade-school-math"
    published_sha256 = ("3730d312f6e3440559ace48831e51066acaca737f6eabec99bccb9e4b3c39d14",)
    typical_turn_bytes = (330,)

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject a row without `####` in its answer."""
        super().check_row(row)
        if "####" not in str(row["answer"]):
            raise ValueError(f"a row of {self.name} has an `answer` with '####' and a number")

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Add the instruction to end with the number on its own line."""
        request = _ANSWER_LINE.format(what="the number alone")
        expected = str(row["answer"]).rpartition("####")[2].strip()
        return {**row, "prompt": f"{row['question'].strip()}\n\n{request}", "expected": expected}


class Math500(FileBenchmark):
    """Problems of MATH with formulas as answers."""

    name = "math_500"
    scorer_name = "math"
    id_keys = ("unique_id", "id")
    required_keys = ("problem", "answer")
    source = "test.jsonl of huggingface.co/datasets/HuggingFaceH4/MATH-500"
    paper_table = "table_8"
    typical_turn_bytes = (280,)

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Ask for the answer in a box."""
        request = "Solve the problem step by step, and put the final answer in \\boxed{}."
        return {
            **row,
            "prompt": f"{row['problem'].strip()}\n\n{request}",
            "expected": str(row["answer"]),
            "category": row.get("subject"),
        }


class GPQA(FileBenchmark):
    """Questions of experts with four options, in a fixed random order for each question."""

    name = "gpqa"
    scorer_name = "choice"
    id_keys = ("Record ID", "id")
    required_keys = (
        "Question",
        "Correct Answer",
        *(f"Incorrect Answer {number}" for number in (1, 2, 3)),
    )
    source = "gpqa_diamond.csv of huggingface.co/datasets/Idavidrein/gpqa"
    typical_turn_bytes = (900,)

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Draw the order of the options by the question."""
        right = str(row["Correct Answer"]).strip()
        options = [right, *(str(row[f"Incorrect Answer {n}"]).strip() for n in (1, 2, 3))]
        random.Random(str(row["Question"])).shuffle(options)  # noqa: S311  # no secret
        return {
            **row,
            "prompt": _format_choice(str(row["Question"]), options),
            "options": options,
            "expected": chr(ord("A") + options.index(right)),
            "category": row.get("High-level domain"),
        }


class MMLUPro(FileBenchmark):
    """Questions of many subjects with up to ten options."""

    name = "mmlu_pro"
    scorer_name = "choice"
    required_keys = ("question", "options", "answer")
    source = "the test split of huggingface.co/datasets/TIGER-Lab/MMLU-Pro, as .parquet or .jsonl"
    typical_turn_bytes = (700,)

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any]:
        """Write the options under the question."""
        options = [str(each) for each in row["options"] if str(each) != _BLANK_OPTION]
        prompt = _format_choice(str(row["question"]), options)
        return {**row, "prompt": prompt, "options": options, "expected": str(row["answer"])}


class IFEval(FileBenchmark):
    """Instructions that can be checked without a language model."""

    name = "ifeval"
    scorer_name = "ifeval"
    id_keys = ("key", "id")
    required_keys = ("prompt", "instruction_id_list", "kwargs")
    source = (
        "input_data.jsonl of github.com/google-research/google-research/"
        "tree/master/instruction_following_eval/data"
    )
    unpublished_label = (
        "data from a file that is not compared with the published one (its sha256 is in the "
        "manifest)"
    )
    typical_turn_bytes = (210,)

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Remove what cannot be checked, and options that are not given."""
        if unknown_instructions(row):
            return None
        kwargs = [
            {k: v for k, v in (each or {}).items() if v is not None} for each in row["kwargs"]
        ]
        return {**row, "kwargs": kwargs}
