"""A comparison as data: which systems, on which benchmarks, judged by whom. Read from TOML."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
)

from moa_graph.config.model import (
    MoAConfig,
    Price,
    explain,
    preset_names,
)
from moa_graph.evals.ablations import (
    ANALYSES,
    Ablations,
    Variant,
    alone,
)
from moa_graph.evals.budget import known_prices
from moa_graph.evals.data import read_table
from moa_graph.evals.datasets import PINS, Benchmark, load_benchmark
from moa_graph.evals.generate import check_system
from moa_graph.evals.judging.judge import Judge, read_judge
from moa_graph.evals.judging.setup import Files, official_judge_of
from moa_graph.models.agent import Agent, build_model

Analysis = Literal["proposers", "roles", "collaborativeness", "depth", "ranker"]
System = Annotated[str, AfterValidator(check_system)]
Positive = Annotated[int, Field(ge=1, strict=True)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Measured(_Table):
    """A benchmark of a plan."""

    name: str
    """`alpaca_eval`, `mt_bench`, `flask`, or a file of prompts."""
    data: Path | None = None
    """Where the data of the named benchmark stand; by default they are downloaded once."""
    limit: Positive | None = None
    """How many items are asked, spread evenly; by default all."""
    judge: str | None = None
    """`provider:model`, `offline:overlap` or a TOML file; by default the plan's."""
    prompt: Path | None = None
    """The judge's prompt, instead of the published one."""
    own_prompt: bool = False
    """Take a prompt of our own, which is not the benchmark's."""
    reference_answers: Path | None = None
    """MT-Bench's reference answers."""
    skills: Path | None = None
    """FLASK's skills."""
    variants: bool = True
    """Whether the variants take part; the paper's analyses are all on AlpacaEval."""

    @property
    def files(self) -> Files:
        """What the judge reads instead of the published files."""
        return Files(self.prompt, self.reference_answers, self.skills, self.own_prompt)


class Variants(_Table):
    """Analyses of a mixture."""

    of: str
    """The name of a system of the plan, or a preset, or a TOML file."""
    analyses: list[Analysis] = Field(min_length=1)


@dataclass(frozen=True)
class Point:
    """A point of an analysis."""

    of: str
    """The mixture whose variant it is."""
    analysis: str
    variant: Variant


class Plan(_Table):
    """A comparison. Paths are relative to the file that it is read from."""

    systems: dict[System, Any] = {}
    """By name: a preset, a TOML file, `provider:model` (that model alone), or a table: `model`
    and other options of an `Agent`, or a mixture."""
    benchmarks: list[Measured] = Field(min_length=1)
    variants: list[Variants] = []
    judge: str | None = None
    """As in `Measured`; by default each benchmark's own."""
    correlation: list[str] = []
    """Systems of which is measured what the aggregator takes: each proposal of their last layer
    is judged, too."""
    out: Path = Path("out")
    concurrency: Positive = 8
    max_cost: float | None = Field(default=None, ge=0)
    """US dollars after which nothing more is begun."""
    gamed_baselines: Path | None = None
    """AlpacaEval's table `df_gamed.csv`; by default it is downloaded once."""
    prices: dict[str, tuple[Price, Price]] = {}
    """As in `MoAConfig`, for all systems and the judge."""
    sizes: dict[str, Price] = {}
    """Billions of parameters that take part in making a token, by `provider:model`, where they
    are not known or are to be assumed."""
    published: dict[System, str] = {}
    """What the paper calls a system, so that its figures stand beside ours."""

    _folder: Path = PrivateAttr(default=Path())

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read a plan.

        Raises:
            ValueError: If there is none, or it is not valid; the message names the place.
        """
        path = Path(path).expanduser()
        folder = path.absolute().parent
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
            plan = cls.model_validate(data, context={"folder": folder})
            plan.check(folder)
        except OSError as error:
            raise ValueError(f"{path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text, as TOML must be") from None
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"{path}: not valid TOML: {error}") from None
        except ValidationError as error:
            raise ValueError(f"{path}: {explain(error, _keys_at)}") from None
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None
        return plan

    @cached_property
    def mixtures(self) -> dict[str, MoAConfig]:
        """The systems that have a name in the plan.

        Raises:
            ValueError: If one is none.
        """
        return {name: self._mixture(name, given) for name, given in self.systems.items()}

    @cached_property
    def points(self) -> list[Point]:
        """The points of all analyses.

        Raises:
            ValueError: If a mixture cannot be varied so.
        """
        return list(self._points())

    @cached_property
    def configs(self) -> dict[str, MoAConfig]:
        """All systems, each once, by name.

        Raises:
            ValueError: If two have the same name.
        """
        found = dict(self.mixtures)
        for point in self.points:
            name, config = point.variant.name, point.variant.config
            if found.setdefault(name, config) != config:
                raise ValueError(f"variants: two systems would be called {name!r}")
        return found

    def systems_on(self, measured: Measured) -> dict[str, MoAConfig]:
        """Give the systems that take part in a benchmark."""
        return self.configs if measured.variants else self.mixtures

    def place(self, path: str | Path) -> Path:
        """Say where a path of the plan leads."""
        return self._folder / Path(path).expanduser()

    def load_benchmark(self, measured: Measured) -> Benchmark:
        """Load what is asked.

        Raises:
            ValueError: As `moa_graph.evals.datasets.load_benchmark`.
        """
        name = measured.name if measured.name in PINS else self.place(measured.name)
        data = measured.data and self.place(measured.data)
        return load_benchmark(name, data, measured.limit)

    def judge_of(self, measured: Measured) -> Judge:
        """Give the judge of a benchmark, with the plan's prices.

        Raises:
            ValueError: If it is none.
        """
        named = measured.judge or self.judge
        if named is None:
            chosen = official_judge_of(measured.name)
        else:
            chosen = read_judge(str(self.place(named)) if named.endswith(".toml") else named)
        known = known_prices({**chosen.prices, **self.prices})
        return Judge(chosen.agent, {label: (each[0], each[1]) for label, each in known.items()})

    def files_of(self, measured: Measured) -> Files:
        """Give what the judge reads instead of the published files."""
        given = measured.files
        prompt, answers, skills = (
            path and self.place(path)
            for path in (given.prompt, given.reference_answers, given.skills)
        )
        return Files(prompt, answers, skills, given.own_prompt)

    def check(self, folder: Path) -> None:
        """Read all that the plan names, so that mistakes show before the first call.

        Args:
            folder: What paths in the plan are relative to.

        Raises:
            ValueError: If something is wrong; the message names the place.
        """
        self._folder = folder
        if not self.configs:
            raise ValueError("systems: empty; expected at least one, or variants of a mixture")
        for key in ("correlation", "published"):
            if unknown := [name for name in getattr(self, key) if name not in self.configs]:
                known = ", ".join(self.configs)
                raise ValueError(f"{key}: no system {unknown[0]!r}; expected one of: {known}")
        for measured in self.benchmarks:
            self.judge_of(measured)
        self._check_names()
        self._check_files()

    def _check_names(self) -> None:
        """Refuse what would be found out only when others were paid for, or never."""
        names = [measured.name for measured in self.benchmarks]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"benchmarks: {twice[0]!r} stands there twice; expected it once")
        tables = [each for each in read_table("published").values() if isinstance(each, dict)]
        rows = (row for table in tables for row in table.get("rows", ()))
        known = sorted({row["system"] for row in rows if "system" in row})
        for ours, name in self.published.items():
            if name not in known:
                raise ValueError(
                    f"published.{ours}: the paper has no {name!r}; "
                    f"expected one of: {', '.join(known)}"
                )

    def _check_files(self) -> None:
        if self.gamed_baselines and not self.place(self.gamed_baselines).is_file():
            raise ValueError(f"gamed_baselines: no file {self.place(self.gamed_baselines)}")
        for system, config in self.configs.items():
            for label in config.labels():
                if not label.startswith("recorded:"):
                    continue
                try:
                    build_model(Agent(model=label))
                except ValueError as error:
                    raise ValueError(f"systems.{system}: {error}") from None

    def _points(self) -> Iterator[Point]:
        for number, wanted in enumerate(self.variants):
            place = f"variants[{number}]"
            base = self.mixtures.get(wanted.of) or self._load(wanted.of, f"{place}.of")
            try:
                varied = Ablations(base)
                for analysis in wanted.analyses:
                    for variant in ANALYSES[analysis](varied):
                        yield Point(wanted.of, analysis, variant)
            except ValueError as error:
                raise ValueError(f"{place}, of {wanted.of!r}: {error}") from None

    def _mixture(self, name: str, given: Any) -> MoAConfig:
        place = f"systems.{name}"
        match given:
            case str() if given in preset_names() or given.endswith(".toml"):
                return self._load(given, place)
            case str() if ":" in given:
                return self._alone(name, {"model": given}, place)
            case dict() if "layers" in given:
                mixture = {"name": name, **given}
                return self._priced(self._validate(MoAConfig, mixture, place))
            case dict() if "model" in given:
                return self._alone(name, given, place)
            case _:
                raise ValueError(
                    f"{place}: expected a preset ({', '.join(preset_names())}), a TOML file, "
                    f"'provider:model', or a table with `model` or `layers`, got {given!r}"
                )

    def _load(self, source: str, place: str) -> MoAConfig:
        try:
            return self._priced(
                MoAConfig.load(source if source in preset_names() else self.place(source))
            )
        except ValueError as error:
            raise ValueError(f"{place}: {error}") from None

    def _alone(self, name: str, given: Mapping[str, Any], place: str) -> MoAConfig:
        agent = self._validate(Agent, given, place)
        return self._priced(alone(name, agent))

    def _validate(self, kind: Any, given: Mapping[str, Any], place: str) -> Any:
        try:
            return kind.model_validate(given, context={"folder": self._folder})
        except ValidationError as error:
            known = list(kind.model_fields)
            raise ValueError(f"{place}: {explain(error, lambda _: known)}") from None

    def _priced(self, config: MoAConfig) -> MoAConfig:
        """Give a mixture the prices of its models, as far as they are known here."""
        known = known_prices({**config.prices, **self.prices})
        own = {label: known[label] for label in config.labels() if label in known}
        return config.model_copy(update={"prices": own})


def _keys_at(place: str) -> list[str]:
    """Name the keys that are known at a place of a plan."""
    kinds: dict[str, type[BaseModel]] = {"benchmarks[": Measured, "variants[": Variants}
    found = (kind for beginning, kind in kinds.items() if place.startswith(beginning))
    return list(next(found, Plan).model_fields)
