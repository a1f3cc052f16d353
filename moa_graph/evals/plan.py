"""Plans of comparisons: systems, benchmarks, variants and judges, read from TOML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    model_validator,
)

from moa_graph.config.model import (
    MoAConfig,
    Price,
    format_validation_error,
    preset_names,
)
from moa_graph.config.toml_files import load_toml
from moa_graph.deprecated import rename_plan_options
from moa_graph.evals.ablations import Variant
from moa_graph.evals.analyses import AnalysedMixture, AnalysisName, list_variants
from moa_graph.evals.benchmark_data import BenchmarkData
from moa_graph.evals.benchmarks.registry import find_benchmark, is_scored_exactly
from moa_graph.evals.data import read_table
from moa_graph.evals.datasets import load_benchmark
from moa_graph.evals.generate import check_system_name
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.setup import (
    JudgeFilePaths,
    check_judges_differ,
    official_judge_for_benchmark,
)
from moa_graph.evals.resource_use import default_prices
from moa_graph.evals.scorers.table import SCORER_PREFIX
from moa_graph.evals.single_model import SingleModel
from moa_graph.models.agent import Agent, build_model
from moa_graph.models.providers import provider_of

SystemName = Annotated[str, AfterValidator(check_system_name)]
StrictPositiveInt = Annotated[int, Field(ge=1, strict=True)]


class _PlanTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class BenchmarkEntry(_PlanTable):
    """A benchmark of a plan."""

    name: str
    """The name of a benchmark, such as `alpaca_eval`, or a file of prompts."""
    data: Path | None = None
    """File with the data of the named benchmark; by default they are downloaded once."""
    limit: StrictPositiveInt | None = None
    """Number of items, spread evenly; by default all."""
    judge: str | None = None
    """The judge: `provider:model`, `offline:overlap` or a TOML file; by default the plan's."""
    judges: list[str] = []
    """Several judges, instead of `judge`. The first one determines the quality."""
    scorer: str | None = None
    """An exact scorer instead of a judge: its name, or `module:function`."""
    prompt: Path | None = None
    """File with the judge's prompt, instead of the published one."""
    builtin_prompt: bool = False
    """Whether to use a prompt of moa_graph instead of the benchmark's."""
    reference_answers: Path | None = None
    """File with MT-Bench's reference answers."""
    skills: Path | None = None
    """File with FLASK's skills."""
    variants: bool = True
    """Whether to include the variants; the paper's analyses all use AlpacaEval."""

    @model_validator(mode="before")
    @classmethod
    def _rename_options(cls, options: Any) -> Any:
        return rename_plan_options(options) if isinstance(options, Mapping) else options

    @property
    def files(self) -> JudgeFilePaths:
        """The files of the judge that replace the published ones."""
        return JudgeFilePaths(self.prompt, self.reference_answers, self.skills, self.builtin_prompt)


class VariantsEntry(_PlanTable):
    """Analyses of a mixture."""

    of: str
    """The mixture: a system of the plan, a preset, or a TOML file."""
    analyses: list[AnalysisName] = Field(min_length=1)
    model: str | None = None
    """The single model of `equal_cost`: the name of an agent of the mixture, or `provider:model`;
    by default that of the aggregator."""
    samples: list[StrictPositiveInt] = []
    """Number of its samples; by default the number that costs about as much as the mixture."""


@dataclass(frozen=True)
class AnalysisPoint:
    """A point of an analysis."""

    of: str
    """The original mixture."""
    analysis: str
    variant: Variant


class SystemRun(NamedTuple):
    """A run of a system; with `repeats`, each system has several runs."""

    system: str
    number: int
    """Number of the run, from 1."""
    config: MoAConfig

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.system if self.number == 1 else f"{self.system}+run{self.number}"


class EvalPlan(_PlanTable):
    """A comparison. Paths are relative to the plan's file."""

    systems: dict[SystemName, Any] = {}
    """Systems by name: a preset, a TOML file, `provider:model` (a single model), or a table:
    `model` and other options of an `Agent`, or a mixture."""
    benchmarks: list[BenchmarkEntry] = Field(min_length=1)
    variants: list[VariantsEntry] = []
    judge: str | None = None
    """As in `BenchmarkEntry`; by default that of each benchmark."""
    judges: list[str] = []
    """As in `BenchmarkEntry`."""
    scorer: str | None = None
    """As in `BenchmarkEntry`."""
    correlation: list[str] = []
    """Systems whose proposals of the last layer are judged too, to measure what the aggregator uses
    of them."""
    out: Path = Path("out")
    repeats: StrictPositiveInt = 1
    """Number of times that each system (not its variants) answers and is judged; the paper's ± is
    the standard deviation of three."""
    concurrency: StrictPositiveInt = 8
    max_cost: float | None = Field(default=None, ge=0)
    """Budget of a run in US dollars: nothing starts that could exceed it."""
    gamed_baselines: Path | None = None
    """File with AlpacaEval's table `df_gamed.csv`; by default it is downloaded once."""
    prices: dict[str, tuple[Price, Price]] = {}
    """As in `MoAConfig`, for all systems and the judge."""
    sizes: dict[str, Price] = {}
    """Billions of active parameters, by `provider:model`, for models whose size is unknown or to be
    assumed."""
    published: dict[SystemName, str] = {}
    """Names of systems in the paper, to show the paper's figures beside the measured ones."""

    _folder: Path = PrivateAttr(default=Path())
    _runs_code: bool = PrivateAttr(default=False)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a plan.

        Raises:
            ValueError: If it does not exist or is invalid; the message names the location.
        """
        path = Path(path).expanduser()
        folder = path.absolute().parent
        format_error = partial(format_validation_error, accepted_keys=_expected_keys)
        return load_toml(path, partial(cls._validate_plan, folder=folder), format_error)

    @classmethod
    def _validate_plan(cls, data: Mapping[str, Any], folder: Path) -> Self:
        plan = cls.model_validate(data, context={"folder": folder})
        plan.check_references(folder)
        return plan

    @cached_property
    def mixtures(self) -> dict[str, MoAConfig]:
        """The named systems of the plan.

        Raises:
            ValueError: If one is invalid.
        """
        return {name: self._load_system(name, source) for name, source in self.systems.items()}

    @cached_property
    def points(self) -> list[AnalysisPoint]:
        """The points of all analyses.

        Raises:
            ValueError: If an analysis is not possible for its mixture.
        """
        return list(self._list_points())

    @cached_property
    def configs(self) -> dict[str, MoAConfig]:
        """All systems, each once, by name.

        Raises:
            ValueError: If two have the same name.
        """
        by_name = dict(self.mixtures)
        for point in self.points:
            name, config = point.variant.name, point.variant.config
            if by_name.setdefault(name, config) != config:
                raise ValueError(
                    f"variants: two systems would be called {name!r}: expected systems and "
                    "proposers whose names differ in letters and digits"
                )
        return by_name

    def systems_for(self, entry: BenchmarkEntry) -> dict[str, MoAConfig]:
        """Return the systems for a benchmark."""
        return self.configs if entry.variants else self.mixtures

    def runs_for(self, entry: BenchmarkEntry) -> Iterator[SystemRun]:
        """Return the runs for a benchmark, grouped by system."""
        for name, config in self.systems_for(entry).items():
            yield from self.runs_of(name, config)

    def runs_of(self, name: str, config: MoAConfig) -> list[SystemRun]:
        """Return the runs of a system."""
        count = self.repeats if name in self.mixtures else 1
        return [SystemRun(name, number, config) for number in range(1, count + 1)]

    def resolve_path(self, path: str | Path) -> Path:
        """Resolve a path of the plan."""
        return self._folder / Path(path).expanduser()

    def load_benchmark(self, entry: BenchmarkEntry) -> BenchmarkData:
        """Load the items of a benchmark.

        Raises:
            ValueError: As `moa_graph.evals.datasets.load_benchmark`.
        """
        name = entry.name if find_benchmark(entry.name) else self.resolve_path(entry.name)
        data = entry.data and self.resolve_path(entry.data)
        return load_benchmark(name, data, entry.limit)

    def judges_for(self, entry: BenchmarkEntry) -> list[Judge]:
        """Return the judges of a benchmark, with the plan's prices.

        Raises:
            ValueError: If one is invalid, or two have the same name.
        """
        # The plan's judge does not apply to benchmarks with exact answers.
        of_plan = [] if is_scored_exactly(entry.name) else _list_judges(self)
        sources = _list_judges(entry) or of_plan
        judges = [self._read_judge(each) for each in sources] or [
            official_judge_for_benchmark(entry.name)
        ]
        check_judges_differ(judges)
        return [self._with_judge_prices(judge) for judge in judges]

    def _read_judge(self, source: str) -> Judge:
        judge = read_judge(str(self.resolve_path(source)) if source.endswith(".toml") else source)
        return replace(judge, run_code=self._runs_code)

    def allow_code(self) -> None:
        """Allow the scorer `code` to run code of models; a plan cannot allow it."""
        self._runs_code = True

    def _with_judge_prices(self, judge: Judge) -> Judge:
        prices = default_prices({**judge.prices, **self.prices})
        pairs = {label: (each[0], each[1]) for label, each in prices.items()}
        return replace(judge, prices=pairs)

    def judge_files_for(self, entry: BenchmarkEntry) -> JudgeFilePaths:
        """Return the files of the judge that replace the published ones."""
        paths = entry.files
        prompt, answers, skills = (
            path and self.resolve_path(path)
            for path in (paths.prompt, paths.reference_answers, paths.skills)
        )
        return JudgeFilePaths(prompt, answers, skills, paths.own_prompt)

    def check_references(self, folder: Path) -> None:
        """Load everything that the plan refers to, to report errors before the first call.

        Args:
            folder: Base folder of the plan's paths.

        Raises:
            ValueError: If something is invalid; the message names the location.
        """
        self._folder = folder
        if not self.configs:
            raise ValueError("systems: empty; expected at least one, or variants of a mixture")
        for key in ("correlation", "published"):
            if unknown := [name for name in getattr(self, key) if name not in self.configs]:
                names = ", ".join(self.configs)
                raise ValueError(f"{key}: no system {unknown[0]!r}; expected one of: {names}")
        for entry in self.benchmarks:
            self.judges_for(entry)
        self._check_names()
        self._check_files()

    def _check_names(self) -> None:
        """Reject ambiguous names before any paid call."""
        for name in self.mixtures:
            later = [run.name for run in self.runs_of(name, self.mixtures[name])[1:]]
            if duplicates := [run for run in later if run in self.configs]:
                raise ValueError(f"systems: {duplicates[0]!r} is the name of a repeat of {name!r}")
        names = [entry.name for entry in self.benchmarks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"benchmarks: {twice[0]!r} occurs twice; expected it once")
        paper_systems = _list_paper_systems()
        for system, name in self.published.items():
            if name not in paper_systems:
                raise ValueError(
                    f"published.{system}: the paper has no {name!r}; "
                    f"expected one of: {', '.join(paper_systems)}"
                )

    def _check_files(self) -> None:
        if self.gamed_baselines and not self.resolve_path(self.gamed_baselines).is_file():
            raise ValueError(f"gamed_baselines: no file {self.resolve_path(self.gamed_baselines)}")
        for system, config in self.configs.items():
            for label in config.labels():
                if not provider_of(label).replays_files:
                    continue
                try:
                    build_model(Agent(model=label))
                except ValueError as error:
                    raise ValueError(f"systems.{system}: {error}") from None

    def _list_points(self) -> Iterator[AnalysisPoint]:
        for number, entry in enumerate(self.variants):
            location = f"variants[{number}]"
            base = self.mixtures.get(entry.of) or self._load_mixture(entry.of, f"{location}.of")
            is_named = entry.of in self.mixtures
            mixture = AnalysedMixture(base, entry.of, is_named, entry.model, entry.samples)
            try:
                for analysis in entry.analyses:
                    for variant in list_variants(analysis, mixture):
                        yield AnalysisPoint(entry.of, analysis, variant)
            except ValueError as error:
                raise ValueError(f"{location}, of {entry.of!r}: {error}") from None

    def _load_system(self, name: str, source: Any) -> MoAConfig:
        location = f"systems.{name}"
        match source:
            case str() if source in preset_names() or source.endswith(".toml"):
                return self._load_mixture(source, location)
            case str() if ":" in source:
                return self._load_single_model(name, {"model": source}, location)
            case dict() if "layers" in source:
                mixture = {"name": name, **source}
                return self._with_prices(self._validate_table(MoAConfig, mixture, location))
            case dict() if "model" in source:
                return self._load_single_model(name, source, location)
            case _:
                raise ValueError(
                    f"{location}: expected a preset ({', '.join(preset_names())}), a TOML file, "
                    f"'provider:model', or a table with `model` or `layers`, got {source!r}"
                )

    def _load_mixture(self, source: str, location: str) -> MoAConfig:
        try:
            return self._with_prices(
                MoAConfig.load(source if source in preset_names() else self.resolve_path(source))
            )
        except ValueError as error:
            raise ValueError(f"{location}: {error}") from None

    def _load_single_model(self, name: str, options: Mapping[str, Any], location: str) -> MoAConfig:
        agent = self._validate_table(Agent, options, location)
        return self._with_prices(SingleModel.from_agent(name, agent))

    def _validate_table(self, kind: Any, data: Mapping[str, Any], location: str) -> Any:
        try:
            return kind.model_validate(data, context={"folder": self._folder})
        except ValidationError as error:
            accepted_keys = list(kind.model_fields)
            raise ValueError(
                f"{location}: {format_validation_error(error, lambda _: accepted_keys)}"
            ) from None

    def _with_prices(self, config: MoAConfig) -> MoAConfig:
        """Return a mixture with the known prices of its models."""
        all_prices = default_prices({**config.prices, **self.prices})
        own = {label: all_prices[label] for label in config.labels() if label in all_prices}
        return config.model_copy(update={"prices": own})


def _list_judges(table: BenchmarkEntry | EvalPlan) -> list[str]:
    if table.judge and table.judges:
        raise ValueError("judges: `judge` is given, too; expected one of the two")
    if table.scorer and (table.judge or table.judges):
        raise ValueError("scorer: `judge` or `judges` is given, too; expected one of them")
    if table.scorer:
        return [f"{SCORER_PREFIX}{table.scorer}"]
    return [table.judge] if table.judge else table.judges


def _list_paper_systems() -> list[str]:
    tables = [each for each in read_table("published").values() if isinstance(each, dict)]
    rows = (row for table in tables for row in table.get("rows", ()))
    return sorted({row["system"] for row in rows if "system" in row})


def _expected_keys(location: str) -> list[str]:
    """Return the known keys at a location of a plan."""
    kinds: dict[str, type[BaseModel]] = {"benchmarks[": BenchmarkEntry, "variants[": VariantsEntry}
    kinds_at_location = (
        kind for beginning, kind in kinds.items() if location.startswith(beginning)
    )
    return list(next(kinds_at_location, EvalPlan).model_fields)
