"""Variants of a mixture for ablation studies.

Each function returns the points of a table or figure of the paper as mixtures. Systems with equal
requests share stored calls, and a system in several tables is one system with one name.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.evals.single_model import SingleModel
from moa_graph.graph.node_names import make_unique_name, slugify_label
from moa_graph.graph.option_checks import MIN_VOTED_PROPOSALS
from moa_graph.models.agent import Agent

PROPOSER_COUNTS = (1, 2, 3, 6)
"""Numbers of proposers in the paper's Table 3."""
DEPTHS = (1, 2, 3, 4)
"""Numbers of layers in the paper's Figure 4a, which count the aggregator: 1 is the aggregator."""
TEMPERATURE = 0.7
"""Temperature of the paper for several samples of one model."""


@dataclass(frozen=True)
class Variant:
    """A point of a table or figure."""

    curve: str
    """Name of the curve, such as `multiple proposers`."""
    x: float | str
    """Position on the curve: a number of proposers or layers, or the name of a model."""
    config: MoAConfig
    """The mixture; its name is that of the system."""
    against: str | None = None
    """Name of the system to compare with."""

    @property
    def name(self) -> str:
        """Name of the system."""
        return self.config.name


class Ablations:
    """The variants of one mixture.

    Args:
        mixture: Its first layer has the proposers, each of a different model. Its aggregator is
            that of all variants that do not vary it. The default temperature is that of the paper.
            Prompts, tokens, prices and other options stay.

    Raises:
        ValueError: If it is a single model, or has options that cannot apply to every variant:
            several values of `quorum`, `grace` or `deadline`, a number as quorum, or samples of a
            proposer.
    """

    def __init__(self, mixture: MoAConfig) -> None:
        _check_mixture(mixture)
        temperature = TEMPERATURE if mixture.temperature is None else mixture.temperature
        self._base = mixture.model_copy(
            update={
                "temperature": temperature,
                "aggregation": "synthesize",
                "voters": None,
                "finalists": 1,
                "analysis": False,
                "analysis_only": False,
            }
        )
        self._proposers = dict(mixture.layers[0])
        aggregator_names = [
            name for name, agent in self._proposers.items() if agent == mixture.aggregator
        ]
        self._sampled_proposer = (aggregator_names or list(self._proposers))[0]
        own = make_unique_name(slugify_label(mixture.aggregator.label), self._proposers)
        self._aggregator = aggregator_names[0] if aggregator_names else own
        self._agents_by_name = {self._aggregator: mixture.aggregator} | self._proposers

    def proposers(self, numbers: Sequence[int] = PROPOSER_COUNTS) -> list[Variant]:
        """Vary the number of proposers: several models, or samples of a single one (Table 3).

        The single model is that of the aggregator if it is a proposer, and otherwise the first
        proposer. With several models it comes first, and the others follow in configured order.

        Raises:
            ValueError: If there are too few proposers, or all samples would be equal.
        """
        multi_model = [self._build_multiple(number) for number in numbers]
        samples = [self._build_samples(self._sampled_proposer, number) for number in numbers]
        against = [
            single.name if single != multiple else None
            for single, multiple in zip(samples, multi_model, strict=True)
        ]
        return [
            *map(Variant, repeat("multiple proposers"), numbers, multi_model, against),
            *map(Variant, repeat("single proposer"), numbers, samples),
        ]

    def roles(self, samples: int | None = None) -> list[Variant]:
        """Use each model as the aggregator, and as the only kind of proposer (Table 4).

        Args:
            samples: Number of samples of a single proposer; by default the number of models.
        """
        width = samples or len(self._proposers)
        return [
            *self._vary_aggregator(),
            *(
                Variant(
                    "as proposer",
                    name,
                    self._build_samples(name, width),
                    self._build_layers(2).name,
                )
                for name in self._proposers
            ),
        ]

    def collaborativeness(self) -> list[Variant]:
        """Let each model answer alone, and with the answers of all models as references (Figure 1).

        As in the paper, whose figure has the values of its Table 4, its own answer is included.
        """
        alone = [Variant("alone", name, self._build_single_model(name)) for name in self._proposers]
        return [*alone, *self._vary_aggregator("with the answers of all")]

    def depth(self, depths: Sequence[int] = DEPTHS) -> list[Variant]:
        """Vary the number of layers, in the paper's count (Figure 4a)."""
        deep = [self._build_layers(depth) for depth in depths]
        return list(map(Variant, repeat("layers"), depths, deep, [None, *(s.name for s in deep)]))

    def ranker(self, depths: Sequence[int] = DEPTHS[1:]) -> list[Variant]:
        """Let the aggregator select a proposal instead of writing (Figure 4a).

        Args:
            depths: Numbers of layers as in the paper, from 2: one layer has no proposals.
        """
        synthesizing = [self._build_layers(depth, min_depth=2) for depth in depths]
        selecting = [
            self._with_name(f"{each.name}-selects", each, aggregation="select")
            for each in synthesizing
        ]
        return [
            *map(
                Variant,
                repeat("aggregator"),
                depths,
                synthesizing,
                [each.name for each in selecting],
            ),
            *map(Variant, repeat("LLM ranker"), depths, selecting),
        ]

    def decision(self) -> list[Variant]:
        """Let the aggregator read all proposals at once, read them in windows, or select one."""
        base = self._build_layers(2)
        changes: dict[str, dict[str, Any]] = {
            "select": {"aggregation": "select"},
            "sequential": {"aggregation": "sequential"},
        }
        if len(self._proposers) >= MIN_VOTED_PROPOSALS:
            changes |= {
                "vote": {"aggregation": "vote"},
                "vote, best two": {"aggregation": "vote", "finalists": 2},
            }
        changes |= {
            "analysis": {"analysis": True},
            "analysis alone": {"analysis": True, "analysis_only": True},
        }
        names = {"select": "selects", "vote, best two": "vote-of-2"}
        changed = [
            self._with_name(f"{base.name}-{names.get(way, way)}", base, **change)
            for way, change in changes.items()
        ]
        return [
            Variant("decision", "synthesize", base),
            *map(Variant, repeat("decision"), changes, changed, repeat(base.name)),
        ]

    def readers(self) -> list[Variant]:
        """Let agents read half of the proposals, in random order, or with reasoning.

        There are two layers of proposers.
        """
        base = self._build_layers(3)
        options: dict[str, dict[str, Any]] = {
            "half": {"references_per_reader": (len(self._proposers) + 1) // 2},
            "shuffled": {"order": "shuffled"},
            "reasoning": {"include_reasoning": True},
        }
        changed = [
            self._with_name(f"{base.name}-reads-{name}", base, **change)
            for name, change in options.items()
        ]
        return [
            Variant("readers", "all", base),
            *map(Variant, repeat("readers"), options, changed, repeat(base.name)),
        ]

    def _vary_aggregator(self, curve: str = "as aggregator") -> list[Variant]:
        return [
            Variant(curve, name, self._build_layers(2, name), self._build_single_model(name).name)
            for name in self._proposers
        ]

    def _build_layers(
        self, depth: int, aggregator: str | None = None, *, min_depth: int = 1
    ) -> MoAConfig:
        """Build a mixture with so many layers, including the aggregator."""
        if depth < min_depth:
            raise ValueError(f"`depths`: expected numbers of layers from {min_depth}, got {depth}")
        aggregator = aggregator or self._aggregator
        if depth == 1:
            return self._build_single_model(aggregator)
        layers = [self._proposers] * (depth - 1)
        name = f"{aggregator}-of-{len(self._proposers)}"
        return self._build_mixture(
            f"{name}-layers-{depth}" if layers[1:] else name, layers, aggregator
        )

    def _build_multiple(self, number: int) -> MoAConfig:
        """Build a mixture with so many models."""
        if not 1 <= number <= len(self._proposers):
            raise ValueError(
                f"`numbers`: expected 1 to {len(self._proposers)} proposers, got {number}"
            )
        names = sorted(self._proposers, key=lambda name: name != self._sampled_proposer)[:number]
        layer = {name: agent for name, agent in self._proposers.items() if name in names}
        width = str(number) if number > 1 else self._sampled_proposer
        return self._build_mixture(f"{self._aggregator}-of-{width}", [layer], self._aggregator)

    def _build_samples(self, name: str, number: int) -> MoAConfig:
        """Build a mixture with so many samples of one model."""
        agent = self._proposers[name]
        temperature = self._base.temperature if agent.temperature is None else agent.temperature
        if number > 1 and temperature == 0:
            raise ValueError(
                f"proposer {name!r}: temperature = 0: {number} samples would be the same; "
                f"expected one above 0 (the paper's is {TEMPERATURE})"
            )
        layer = {name: agent.model_copy(update={"samples": number})}
        width = name if number == 1 else f"{number}x-{name}"
        return self._build_mixture(f"{self._aggregator}-of-{width}", [layer], self._aggregator)

    def _build_single_model(self, name: str) -> MoAConfig:
        """Build a single model; its call equals that of a proposer in the first layer."""
        return self._with_name(
            f"{name}-alone", SingleModel.from_agent(name, self._agents_by_name[name], self._base)
        )

    def _build_mixture(
        self, name: str, layers: Sequence[Mapping[str, Agent]], aggregator: str
    ) -> MoAConfig:
        changes: dict[str, Any] = {"aggregator": self._agents_by_name[aggregator]}
        if len(layers) == 1:  # the aggregator always reads all
            changes["references_per_reader"] = None
        return self._with_name(name, self._base, layers=list(layers), **changes)

    def _with_name(self, name: str, config: MoAConfig, **changes: Any) -> MoAConfig:
        """Return a variant with a name that is valid for a folder."""
        plain = re.sub(r"[^\w.+-]+", "-", name).lstrip(".+-")
        return config.model_copy(update={"name": plain, **changes})


ANALYSES: Mapping[str, Callable[[Ablations], list[Variant]]] = {
    "proposers": Ablations.proposers,
    "roles": Ablations.roles,
    "collaborativeness": Ablations.collaborativeness,
    "depth": Ablations.depth,
    "ranker": Ablations.ranker,
    "readers": Ablations.readers,
    "decision": Ablations.decision,
}
"""The analyses, by name."""


def _check_mixture(mixture: MoAConfig) -> None:
    if not mixture.layers:
        raise ValueError("a single model has no variants; expected a mixture")
    for name in ("quorum", "grace", "deadline"):
        if isinstance(value := getattr(mixture, name), list):
            raise ValueError(f"`{name}`={value!r}: expected one value, as layers come and go")
    if isinstance(mixture.quorum, int):
        raise ValueError(
            f"`quorum`={mixture.quorum!r}: expected a share, such as 0.5, as layers differ in width"
        )
    for name, agent in mixture.layers[0].items():
        if agent.samples != 1:
            raise ValueError(
                f"proposer {name!r}: samples = {agent.samples}: expected 1, as they are varied"
            )
