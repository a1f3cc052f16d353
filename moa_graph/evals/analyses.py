"""The table of the analyses in a plan. Add new ones here."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from moa_graph.config.model import MoAConfig
from moa_graph.evals.ablations import ANALYSES, Ablations, Variant
from moa_graph.evals.baselines import list_equal_cost, list_first_layers, list_leave_one_out

AnalysisName = Literal[
    "proposers",
    "roles",
    "collaborativeness",
    "depth",
    "ranker",
    "readers",
    "decision",
    "equal_cost",
    "leave_one_out",
    "early_stop",
]


@dataclass(frozen=True)
class AnalysedMixture:
    """A mixture and the options of its analysis."""

    config: MoAConfig
    name: str
    """Name in the plan."""
    is_named: bool = True
    """Whether it is a system of the plan."""
    model: str | None = None
    """The single model to compare with; see `list_equal_cost`."""
    samples: Sequence[int] = ()
    """Number of samples of the single model."""


def list_variants(analysis: AnalysisName, mixture: AnalysedMixture) -> list[Variant]:
    """Return the systems of an analysis.

    Raises:
        ValueError: If the analysis is not possible for the mixture.
    """
    return _ANALYSES[analysis](mixture)


def _vary(
    build: Callable[[Ablations], list[Variant]],
) -> Callable[[AnalysedMixture], list[Variant]]:
    return lambda mixture: build(Ablations(mixture.config))


def _list_equal_cost(mixture: AnalysedMixture) -> list[Variant]:
    _check_named(mixture)
    return list_equal_cost(mixture.config, mixture.name, mixture.model, mixture.samples)


def _list_leave_one_out(mixture: AnalysedMixture) -> list[Variant]:
    _check_named(mixture)
    return list_leave_one_out(mixture.config, mixture.name)


def _list_first_layers(mixture: AnalysedMixture) -> list[Variant]:
    _check_named(mixture)
    return list_first_layers(mixture.config, mixture.name)


def _check_named(mixture: AnalysedMixture) -> None:
    if not mixture.is_named:
        raise ValueError("it is compared with its variants; expected a system of the plan")


_ANALYSES: Mapping[str, Callable[[AnalysedMixture], list[Variant]]] = {
    **{name: _vary(build) for name, build in ANALYSES.items()},
    "equal_cost": _list_equal_cost,
    "leave_one_out": _list_leave_one_out,
    "early_stop": _list_first_layers,
}
