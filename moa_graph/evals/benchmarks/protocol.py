"""`Benchmark`, the base class of benchmarks: data, judge, score, report, estimate."""

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
    """A judgement and its context."""

    case: JudgementCase
    row: JsonRow
    """A line of `judgements.jsonl`."""
    prompt: str
    """Last message of the judge's prompt."""
    opponent: str | None
    """The system of the other answer, if it is not the benchmark's reference."""


class JudgeFileReader(Protocol):
    """Reads the files that a judge needs: the published ones, or the user's."""

    def was_given(self, part: str) -> bool:
        """Return whether the user has provided a file, for example by `--prompt`."""

    def read(self, part: str) -> str:
        """Read a file of the benchmark's `judge_files`.

        Raises:
            ValueError: If it is not available.
        """


@runtime_checkable
class Benchmark(Protocol):
    """Base class of benchmarks. Members with a default are optional in subclasses.

    An instance is registered under the name of the benchmark, as an entry point of the group
    `moa_graph.benchmarks`.
    """

    name: str
    """Name on the command line, in plans and of the folders of results."""

    # Data

    pinned_file: PinnedFile | None = None
    """The published data; `None` if there is no fixed file."""
    id_keys: Sequence[str] = ("id", "question_id", "idx")
    """Keys of a row that may contain its id; without one, the id is its index in the file."""
    category_keys: Sequence[str] = ("category", "dataset")
    """Keys of a row that may contain its category."""
    required_keys: Sequence[str] = ()
    """Required keys of a row."""
    unpublished_label: str = "data other than the published ones"
    """Label of figures from data that are not the published ones."""

    def find_data(self) -> Path:
        """Return the file of the data (`.jsonl`, `.json` or `.txt`); by default the pinned one.

        Raises:
            ValueError: If it is not available; the message says what to download.
        """
        if self.pinned_file is None:
            raise ValueError(f"{self.name}: no data are published; give a file with --data")
        return fetch_pinned_file(self.pinned_file)

    def has_published(self, data: BenchmarkData) -> bool:
        """Return whether data are those that the benchmark publishes."""
        if self.pinned_file:
            return data.revision is not None
        with suppress(ValueError):  # no published data
            return data.source == str(self.find_data())
        return False

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Reject an invalid row of the data.

        Raises:
            ValueError: If it is invalid.
        """
        if missing := [key for key in self.required_keys if row.get(key) is None]:
            raise ValueError(
                f"a row of {self.name} has {', '.join(self.required_keys)}; "
                f"missing: {', '.join(missing)}; got the keys {', '.join(row) or 'none'}"
            )

    def read_row(self, row: Mapping[str, Any]) -> Mapping[str, Any] | None:
        """Convert a row of the data for `moa eval`; `None` leaves it out.

        The question is in `turns`, `instruction`, `prompt` or `question`. By default the row is not
        changed.
        """
        return row

    def call_options(self, item: BenchmarkItem) -> Mapping[str, Any]:
        """Return the options of an `Agent` that the benchmark sets for all models, if any."""
        return {}

    def format_outputs(self, system: str, rows: Sequence[JsonRow]) -> tuple[str, str]:
        """Return the answers in the format of the benchmark's own tools.

        Args:
            system: Name of the system.
            rows: Rows of `proposals.jsonl` that have answers.

        Returns:
            The name and the text of the file.
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
    """Description of the judging."""

    @property
    def official_judge(self) -> str:
        """Default judge: `provider:model`."""
        return self.judging_method.official_label

    judge_files: Mapping[str, JudgeFileOrigin] = {}
    """Files of the judge, by part: `prompt`, `reference_answers`, `skills`."""
    has_judge: bool = True
    """Whether a model judges; otherwise answers are right or wrong."""
    compares_systems: bool = False
    """Whether answers can be compared with those of another system (`--against`)."""

    def build_method(
        self,
        data: BenchmarkData,
        files: JudgeFileReader,
        opponent: Mapping[str | int, str] | None,
    ) -> JudgingMethod:
        """Build the judging method.

        Args:
            data: The items.
            files: Reads the files of the judge.
            opponent: The answers of another system by item, with `compares_systems`.

        Raises:
            ValueError: If a file is not available or invalid.
        """

    def format_judgements(
        self,
        system: str,
        judge: str,
        judged: Sequence[OfficialJudgement],
    ) -> tuple[str, str] | None:
        """Return the judgements in the format of the benchmark's own tools, if there is one.

        Args:
            system: Name of the system.
            judge: The judge: `provider:model`.
            judged: The successful judgements.

        Returns:
            The name and the text of the file; by default `None`.
        """
        return None

    # Score

    def score(self, rows: Sequence[JsonRow], judging: Mapping[str, Any], baselines: Any) -> Any:
        """Return the figures of a system, as a dataclass.

        Args:
            rows: Its judgements, including failed ones.
            judging: The manifest of the judging.
            baselines: The gamed baselines of AlpacaEval, or why they are missing.
        """

    def score_by_instruction(self, judged: Sequence[JsonRow]) -> dict[str | int, float]:
        """Return a number for each item, for comparisons of systems and intervals.

        Args:
            judged: The successful judgements.
        """

    score_bounds: tuple[float, float] | None = None
    """Bounds of `score_by_instruction`, if there are any."""

    # Several judges

    rating_scale: RatingScale | None = None
    """The rating scale for comparing judges; `None` if they cannot be compared."""

    def list_ratings(self, row: JsonRow) -> Mapping[str, int]:
        """Return the ratings of a successful judgement on `rating_scale`, by part."""
        return {}

    def read_comparison(self, row: JsonRow) -> AnswerComparison | None:
        """Return a successful judgement as a comparison of two answers, if it is one."""
        return None

    # Report

    paper_table: str | None = None
    """Table of the paper's figures for this benchmark in `published.toml`, if any."""
    paper_has_analyses: bool = False
    """Whether the paper's analyses (Tables 3 and 4, Figure 4a) use this benchmark."""
    quality_note: str = ""
    """Addition to the caption of the table of quality."""

    def metric(self, *, is_headline: bool) -> str:
        """Return the name of the quality metric.

        Args:
            is_headline: Whether it is `headline`, or the mean of `score_by_instruction`.
        """

    def headline(self, figures: Any) -> float | None:
        """Return a figure that represents the quality instead of the mean over instructions."""
        return None

    def headline_metric(self, figures: Any) -> str:
        """Return the name of `headline` for these figures."""
        return self.metric(is_headline=True)

    def headline_by_instruction(
        self,
        figures: Any,
        rows: Sequence[JsonRow],
    ) -> Mapping[str | int, float]:
        """Return the contribution of each item to `headline`; their mean is the headline.

        Intervals and comparisons of the headline need them.

        Args:
            figures: Result of `score`.
            rows: The judgements.
        """
        return {}

    def figure_labels(self, figures: Any) -> Sequence[str]:
        """Return the labels that must accompany these figures."""
        return ()

    def report_cells(self, figures: Any) -> dict[str, str]:
        """Return the benchmark's own figures of a system, by column of the report's table."""

    def group_means(self, figures: Any) -> Mapping[str, Mapping[str, float | None]]:
        """Return the means of groups of instructions, by kind of group and by group."""
        return {}

    def radar_means(self, figures: Any) -> Mapping[str, float | None]:
        """Return means from 1 to 5 for a radar chart, by spoke."""
        return {}

    def missing_figures(self, figures: Any) -> Mapping[str, str]:
        """Return the figures that could not be computed, with reasons."""
        return {}

    def score_table(self, systems: Sequence[Any]) -> list[tuple[str, list[str]]]:
        """Return the rows of the table of `moa eval score`.

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
    """Typical tokens of each turn of an item, if the data are not available."""
    judge_prompt_tokens: int = 400
    """Typical tokens of the judge's prompt besides question and answers."""
    judges_each_turn: bool = False
    """Whether each turn is judged, or only the first."""
    judge_reads_reference: bool = True
    """Whether the judge reads a reference answer with each answer."""
    estimated_call_options: Mapping[str, Any] = {}
    """Assumed result of `call_options`."""
