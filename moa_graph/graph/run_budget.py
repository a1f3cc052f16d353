"""The option `max_cost`: the budget of a run."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.state import LayerState, Proposal
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.prompting.parsing import ZERO_USAGE

_MIN_SHOWN_DOLLARS = 0.01
_TOLERANCE = 1 + 1e-9  # rounding of floats: a layer that costs exactly the rest may run


@dataclass(frozen=True)
class RunBudget:
    """Budget of a run in US dollars, and the cost of its calls.

    A further layer runs if the rest of the budget pays for it. The layer under way and the
    aggregator always run.
    """

    max_cost: float
    prices: Prices
    layers: Sequence[LayerSpec]

    def find_reason_to_stop(
        self, layer_spec: LayerSpec, state: LayerState, decisions: Iterable[DepthDecision]
    ) -> str | None:
        """Return why no further layer may run; `None` if one may.

        Args:
            layer_spec: The completed layer.
            state: State with the proposals.
            decisions: Earlier decisions of this turn, possibly made by models.
        """
        proposals = self._proposals_until(layer_spec, state)
        unpriced = [node for node, p in proposals.items() if self._is_unknown(p)]
        if unpriced:
            return (
                f"max_cost {_format_dollars(self.max_cost)}: {unpriced[0]} answered without "
                "token counts, so the cost is unknown"
            )
        spent = self._sum_costs(proposals.values(), decisions)
        next_cost = self._estimate_layer(layer_spec, proposals)
        if spent + next_cost <= self.max_cost * _TOLERANCE:
            return None
        return (
            f"max_cost {_format_dollars(self.max_cost)}: {_format_dollars(spent)} spent, "
            f"and the next layer may cost {_format_dollars(next_cost)}"
        )

    def _proposals_until(self, layer_spec: LayerSpec, state: LayerState) -> dict[str, Proposal]:
        reached = self.layers[: layer_spec.number]
        return {node: p for spec in reached for node, p in spec.proposals_in(state).items()}

    def _estimate_call(self, model: str, usage: Mapping[str, Any] | None) -> float | None:
        return estimate_cost(model, usage, self.prices)

    def _is_unknown(self, proposal: Proposal) -> bool:
        """Whether an answer has an unknown cost."""
        return (
            not proposal["error"]
            and self._estimate_call(proposal["model"], proposal["usage"]) is None
        )

    def _sum_costs(
        self, proposals: Iterable[Proposal], decisions: Iterable[DepthDecision]
    ) -> float:
        """Sum the costs; a failed call of unknown cost counts as the most expensive one."""
        calls = [*proposals]
        costs = [self._estimate_call(each["model"], each["usage"]) or 0.0 for each in calls]
        failed = sum(bool(each.get("may_be_billed")) for each in calls)
        decided = (
            self._estimate_call(each["model"], each.get("usage")) or 0.0
            for each in decisions
            if "model" in each
        )
        return sum(costs) + failed * max(costs, default=0.0) + sum(decided)

    def _estimate_layer(self, layer_spec: LayerSpec, proposals: Mapping[str, Proposal]) -> float:
        """Estimate the cost of the next layer, which also reads the proposals of this one."""
        answered = [
            p["usage"] or {**ZERO_USAGE}
            for p in layer_spec.proposals_in({"proposals": proposals}).values()  # type: ignore[typeddict-item]
            if not p["error"]
        ]
        usage = self._expect_usage(answered, is_first=layer_spec.number == 1)
        agents = self.layers[layer_spec.number].agent_nodes
        return sum(self._estimate_call(each.agent.label, usage) or 0.0 for each in agents)

    def _expect_usage(
        self, usages: Sequence[Mapping[str, Any]], *, is_first: bool
    ) -> dict[str, int]:
        output_tokens = sum(each["output_tokens"] for each in usages)
        input_tokens = max((each["input_tokens"] for each in usages), default=0)
        input_tokens += output_tokens if is_first else 0  # later layers already include them
        answer = math.ceil(mean(each["output_tokens"] for each in usages)) if usages else 0
        return {
            "input_tokens": input_tokens,
            "output_tokens": answer,
            "total_tokens": input_tokens + answer,
        }


def check_max_cost(max_cost: Any, prices: Prices, labels: Iterable[str]) -> float:
    """Check that a budget is valid and that all prices are known.

    Args:
        max_cost: US dollars.
        prices: Prices set by the user.
        labels: The models that may be called.

    Raises:
        ValueError: If it is not an amount of money, or the price of a model is unknown.
    """
    is_number = isinstance(max_cost, (int, float)) and not isinstance(max_cost, bool)
    if not is_number or not 0 <= max_cost < math.inf:
        raise ValueError(f"`max_cost`={max_cost!r}: expected US dollars, 0 or more")
    probe = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    unknown = sorted({each for each in labels if estimate_cost(each, probe, prices) is None})
    if unknown:
        raise ValueError(
            f"`max_cost`={max_cost!r}: the price of {unknown[0]!r} is not known; expected it in "
            f"`prices`, in US dollars for a million tokens read and written, such as "
            f"{{{unknown[0]!r}: (2.5, 10)}}, or the package genai-prices, which knows list prices"
        )
    return float(max_cost)


def _format_dollars(amount: float) -> str:
    """Format an amount; small amounts get two significant digits."""
    digits = 2 if amount >= _MIN_SHOWN_DOLLARS or not amount else 1 - math.floor(math.log10(amount))
    return f"${amount:,.{digits}f}"
