"""What a benchmark is made of: data, judge, score, report, estimate."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from moa_graph.evals.benchmark_data import BenchmarkData, BenchmarkItem
from moa_graph.evals.judging.cases import JudgementCase, JudgingMethod
from moa_graph.evals.pinned_files import JudgeFileOrigin, PinnedFile, fetch_pinned_file
from moa_graph.evals.ratings import AnswerComparison, RatingScale
from moa_graph.evals.results_file import JsonRow, format_json_lines


class OfficialJudgement(NamedTuple):
    """A judgement, with what it is of."""

    case: JudgementCase
    row: JsonRow
    """A line of `judgements.jsonl`."""
    prompt: str
    """The last message that the judge was sent."""
    opponent: str | None
    """The system that it was compared with, if that is not the benchmark's reference."""


class JudgeFileReader(Protocol):
    """Reads the files that a judge needs: the published ones, or those that were given."""

    def was_given(self, part: str) -> bool:
        """Tell whether a file was given, such as by `--prompt`."""

    def read(self, part: str) -> str:
        """Read a file of the benchmark's `judge_files`.

        Raises:
            ValueError: If it cannot be had.
        """


@runtime_checkable
class Benchmark(Protocol):
    """A benchmark. Subclass it: what has a default here may be left out.

    An instance is registered under the name of the benchmark, as an entry point of the group
    `moa_graph.benchmarks`.
    """

    name: str
    """What it is called on the command line, in plans, and in the folders of results."""

    # Data

    pinned_file: PinnedFile | None = None
    """The published data; `None` if there is no fixed file."""
    id_keys: Sequence[str] = ("id", "question_id", "idx")
    """Keys of a row that may hold its id; without one, its place in the file is its id."""
    required_keys: Sequence[str] = ()
    """Keys without which a row is not one of the benchmark's."""

    def find_data(self) -> Path:
        """Give the file of the data (`.jsonl`, `.json` or `.txt`); by default the pinned one.

        Raises:
            ValueError: If it cannot be had; the message says what to fetch.
        """
        if self.pinned_file is None:
            raise ValueError(f"{self.name}: no data are published; give a file with --data")
        return fetch_pinned_file(self.pinned_file)

    def has_published(self, data: BenchmarkData) -> bool:
        """Tell whether data are those that the benchmark publishes."""
        if self.pinned_file:
            return data.revision is not None
        with suppress(ValueError):  # none are published
            return data.source == str(self.find_data())
        return False

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Refuse a row of the data that is not one of the benchmark's.

        Raises:
            ValueError: If it is not.
        """
        if missing := [key for key in self.required_keys if row.get(key) is None]:
            raise ValueError(
                f"a row of {self.name} has {', '.join(self.required_keys)}; "
                f"missing: {', '.join(missing)}; got the keys {', '.join(row) or 'none'}"
            )

    def call_options(self, item: BenchmarkItem) -> Mapping[str, Any]:  # noqa: ARG002
        """Give the options of an `Agent` that the benchmark sets for all models, if any."""
        return {}

    def format_outputs(self, system: str, rows: Sequence[JsonRow]) -> tuple[str, str]:
        """Write answers as the benchmark's own tools read them.

        Args:
            system: What the system is called.
            rows: Rows of `proposals.jsonl` that have answers.

        Returns:
            The name of the file, and its text.
        """
        outputs = (
            {
                "id": row["id"],
                "turns": [turn["instruction"] for turn in row["turns"]],
                "answers": [turn["answer"] for turn in row["turns"]],
                "generator": system,
            }
            for row in rows
        )
        return "answers.jsonl", format_json_lines(outputs)

    # Judge

    judging_method: type[JudgingMethod]
    """How an answer is judged."""
    judge_files: Mapping[str, JudgeFileOrigin] = {}
    """The files that the judge reads, by part: `prompt`, `reference_answers`, `skills`."""
    compares_systems: bool = False
    """Whether answers can be held against those of another system (`--against`)."""

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the judging method.

        Args:
            data: What was asked.
            files: Reads what the judge needs.
            opponent: The answers of another system by item, where `compares_systems`.

        Raises:
            ValueError: If a file cannot be had, or is not what was expected.
        """

    def format_judgements(
        self,
        system: str,  # noqa: ARG002
        judge: str,  # noqa: ARG002
        judged: Sequence[OfficialJudgement],  # noqa: ARG002
    ) -> tuple[str, str] | None:
        """Write judgements as the benchmark's own tools read them, if they have a format.

        Args:
            system: What the system is called.
            judge: Who judged: `provider:model`.
            judged: The judgements that succeeded.

        Returns:
            The name of the file, and its text; by default there is none.
        """
        return None

    # Score

    def score(self, rows: Sequence[JsonRow], judging: Mapping[str, Any], baselines: Any) -> Any:
        """Give the figures of a system, as a dataclass.

        Args:
            rows: Its judgements, failed ones among them.
            judging: The manifest of the judging.
            baselines: The gamed baselines of AlpacaEval, or why they are not to be had.
        """

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Give one number an item, of which systems are compared and intervals are made.

        Args:
            judged: The judgements that succeeded.
        """

    score_bounds: tuple[float, float] | None = None
    """The least and the greatest value of `score_by_instruction`, if there are such."""

    # Judges side by side

    rating_scale: RatingScale | None = None
    """What a judge says, so that judges can be held against each other; `None` if they cannot."""

    def list_ratings(self, row: JsonRow) -> Mapping[str, int]:  # noqa: ARG002
        """Give the ratings of a judgement that succeeded, on `rating_scale`, by part."""
        return {}

    def read_comparison(self, row: JsonRow) -> AnswerComparison | None:  # noqa: ARG002
        """Give a judgement that succeeded as a comparison of two answers, if it is one."""
        return None

    # Report

    paper_table: str | None = None
    """The table of the paper's figures of this benchmark in `published.toml`, if it has some."""
    paper_has_analyses: bool = False
    """Whether the paper's analyses (its Tables 3 and 4, and Figure 4a) are on this benchmark."""
    quality_note: str = ""
    """What is added to the caption of the table of quality."""

    def metric(self, *, is_headline: bool) -> str:
        """Name what is plotted as quality.

        Args:
            is_headline: Whether that is `headline`; else the mean of `score_by_instruction`.
        """

    def headline(self, figures: Any) -> float | None:  # noqa: ARG002
        """Give a figure that stands for the quality instead of the mean over instructions."""
        return None

    def headline_metric(self, figures: Any) -> str:  # noqa: ARG002
        """Name what `headline` gives for these figures."""
        return self.metric(is_headline=True)

    def headline_by_instruction(
        self,
        figures: Any,  # noqa: ARG002
        rows: Sequence[JsonRow],  # noqa: ARG002
    ) -> Mapping[str | int, float]:
        """Give what each item contributes to `headline`, of which the headline is the mean.

        Intervals and comparisons of the headline are made of it; without it there are none.

        Args:
            figures: What `score` gave.
            rows: The judgements that it was given.
        """
        return {}

    def figure_labels(self, figures: Any) -> Sequence[str]:  # noqa: ARG002
        """Say what has to be said wherever these figures stand."""
        return ()

    def report_cells(self, figures: Any) -> dict[str, str]:
        """Give the benchmark's own figures of a system, by column of the report's table."""

    def group_means(self, figures: Any) -> Mapping[str, Mapping[str, float | None]]:  # noqa: ARG002
        """Give the means of groups of instructions, by what is grouped by and by group."""
        return {}

    def radar_means(self, figures: Any) -> Mapping[str, float | None]:  # noqa: ARG002
        """Give means from 1 to 5 that a radar chart shows, by spoke."""
        return {}

    def missing_figures(self, figures: Any) -> Mapping[str, str]:  # noqa: ARG002
        """Name the figures that could not be computed, each with its reason."""
        return {}

    def score_table(self, systems: Sequence[Any]) -> list[tuple[str, list[str]]]:
        """Give the rows of the table of `moa eval score`.

        Args:
            systems: The figures of each system.

        Returns:
            The name of each row, and a cell for each system.
        """
        cells = [self.report_cells(figures) for figures in systems]
        columns = dict.fromkeys(column for each in cells for column in each)
        return [(column, [each.get(column, "-") for each in cells]) for column in columns]

    # Estimate

    typical_turn_bytes: Sequence[int] = (200,)
    """About how long each turn of an item is, where the data are not at hand."""
    judge_prompt_tokens: int = 400
    """About what the judge reads beside question and answers."""
    judges_each_turn: bool = False
    """Whether each turn is judged, not only the first."""
    judge_reads_reference: bool = True
    """Whether the judge reads a reference answer with each answer."""
    estimated_call_options: Mapping[str, Any] = {}
    """What `call_options` is taken to be."""
