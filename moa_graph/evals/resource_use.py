"""Resource use of an answer: tokens, cost and floating point operations."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from math import inf, isfinite, nan
from statistics import fmean
from typing import Any, NamedTuple

from moa_graph.evals.data import read_table
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.models.pricing import (
    Prices,
    estimate_cost,
    is_free_model,
    price_tokens,
)
from moa_graph.models.providers import provider_of
from moa_graph.runs.agent_call import AgentCall

Sizes = Mapping[str, float]
"""Billions of active parameters, by `provider:model`."""

FLOPS_PER_PARAMETER = 2  # a multiplication and an addition per parameter and token
TERA, BILLION = 1e12, 1e9


class ModelSize(NamedTuple):
    """The size of a model."""

    total: float
    """Billions of parameters."""
    active: float
    """Billions of active parameters for one token."""
    assumed: bool
    """Whether the size is an assumption of `source`."""
    source: str


class PartialMean(NamedTuple):
    """A mean over the runs with a known value."""

    value: float | None
    """The mean; `None` if no value is known."""
    known_runs: int
    """Number of known values."""


@dataclass(frozen=True)
class ResourceUse:
    """Mean resource use of an instruction. A turn of a conversation counts as an instruction."""

    instructions: int
    input_tokens: PartialMean
    """Prompt tokens of all agents."""
    output_tokens: PartialMean
    """Completion tokens of all agents."""
    cost: PartialMean
    """Cost in US dollars."""
    teraflops: PartialMean
    """10^12 floating point operations for completion tokens; see `teraflops`."""
    unpriced: Sequence[str]
    """Models without a price, whose instructions have no cost."""
    uncounted: Sequence[str]
    """Models without token counts, whose instructions have unknown resource use."""
    unsized: Sequence[str]
    """Models of unknown size, whose instructions have no TFLOPs."""
    assumed: Sequence[str]
    """Models of assumed size."""
    failed: int
    """Number of failed calls without token counts, whose cost is not included."""
    is_per_turn: bool = False
    """Whether instructions include turns of a conversation."""


def default_prices(overrides: Prices | None = None) -> Prices:
    """Return the prices of the package's own table, for any function with a parameter `prices`.

    They date from the time of the paper, each with its date and source in `models.toml`, and take
    precedence over those of `genai-prices`.

    Args:
        overrides: Prices that take precedence over the table.
    """
    rows = read_table("models")["prices"]
    return {model: row["price"] for row in rows for model in row["models"]} | dict(overrides or {})


def model_size(model: str, sizes: Sizes | None = None) -> ModelSize | None:
    """Return the size of a model, if known.

    Args:
        model: `provider:model`. The provider makes no difference.
        sizes: The user's sizes, which take precedence and count as assumed.
    """
    if size := (sizes or {}).get(model):
        return ModelSize(size, size, assumed=True, source="given")
    name = model.partition(":")[2] or model
    return _size_table().get(name.rpartition("/")[2].lower())


@cache
def _size_table() -> dict[str, ModelSize]:
    return {
        name: ModelSize(row["total"], row["active"], row.get("assumed", False), row["source"])
        for row in read_table("models")["parameters"]
        for name in row["names"]
    }


def teraflops(calls: Iterable[AgentCall], sizes: Sizes | None = None) -> float | None:
    """Return the TFLOPs of one instruction.

    It is twice the active parameters of a model for each completion token, summed over the layers
    with the aggregator as the last one. In each layer the call with the most operations counts,
    because its proposers run in parallel, as in the paper's Figure 5. Prompt tokens do not count.
    (The values of that figure match this count at about 370 tokens in each layer.)

    Args:
        calls: The calls of a run; failed ones are left out.
        sizes: As in `model_size`.

    Returns:
        10^12 floating point operations, or `None` if a size or a number of tokens is unknown.
    """
    answered = sorted((c for c in calls if c.error is None), key=lambda call: call.layer)
    layers = [list(layer) for _, layer in groupby(answered, key=lambda call: call.layer)]
    return _sum_layer_maxima(
        [
            [_teraflops_of_tokens(c.model, _token_count(c, "output_tokens"), sizes) for c in x]
            for x in layers
        ]
    )


def _teraflops_of_tokens(model: str, tokens: float | None, sizes: Sizes | None) -> float | None:
    size = model_size(model, sizes)
    if not provider_of(model).is_language_model and size is None:
        return 0.0
    if size is None or tokens is None:
        return None
    return FLOPS_PER_PARAMETER * size.active * BILLION * tokens / TERA


def _sum_layer_maxima(layers: Sequence[Sequence[float | None]]) -> float | None:
    """Sum the maximum of each layer, if all are known."""
    counted = [[flops for flops in layer if flops is not None] for layer in layers]
    if not layers or any(map(_is_shorter, counted, layers)):
        return None
    return sum(map(max, counted))


def _is_shorter(part: Sequence[Any], whole: Sequence[Any]) -> bool:
    return len(part) < len(whole)


def read_turn_calls(turn: Mapping[str, Any]) -> list[AgentCall]:
    """Return the calls of a turn from a line of `proposals.jsonl`.

    Args:
        turn: One of the `turns` of the line.
    """
    rows = dict(turn["proposals"])
    if last := turn.get("aggregator"):
        layer = 1 + max((row["layer"] for row in rows.values()), default=0)
        rows[AGGREGATOR] = {"layer": layer, "error": None, "content": turn["answer"], **last}
    for number, writer in enumerate(turn.get("failed_writers", ()), 1):
        layer = 1 + max((row["layer"] for row in turn["proposals"].values()), default=0)
        rows[f"failed_writer_{number}"] = {"layer": layer, "content": "", **writer}
    for decision in turn.get("decisions", ()):
        name = parse_node_name(decision["node"])
        rows[decision["node"]] = {"layer": name.layer if name else 0, "content": "", **decision}
    return [
        AgentCall(
            node=node,
            layer=row["layer"],
            agent=name.agent if (name := parse_node_name(node)) else node,
            model=row["model"],
            text=row["content"],
            error=row["error"],
            started=None,
            seconds=row.get("seconds", 0.0),
            dropped_reference_chars=row.get("unread", 0),
            usage=row.get("usage"),
            cost=row.get("cost"),
            finish_reason=row.get("finish_reason"),
            may_be_billed=row.get("may_be_billed", False),
        )
        for node, row in rows.items()
    ]


def measure_resource_use(
    runs: Sequence[Sequence[AgentCall]], prices: Prices | None = None, sizes: Sizes | None = None
) -> ResourceUse:
    """Return the mean resource use of a system.

    A stored answer counts with its original cost. Stored outputs (`recorded:`) have an unknown cost
    unless they have a price, because somebody has paid for them.

    Args:
        runs: The calls of each instruction: `RunRecord.calls` of `read_run`, or `read_turn_calls`.
        prices: The user's prices, which take precedence over `default_prices` and `genai-prices`.
            They also apply to stored outputs and free models.
        sizes: As in `model_size`.
    """
    all_prices = default_prices(prices)
    answered = [call for run in runs for call in run if call.error is None]

    def mean(value: Callable[[Sequence[AgentCall]], float | None]) -> PartialMean:
        values = [amount for run in runs if run and (amount := value(run)) is not None]
        return PartialMean(fmean(values) if values else None, len(values))

    return ResourceUse(
        instructions=len(runs),
        input_tokens=mean(
            lambda run: _sum_over_calls(run, lambda c: _token_count(c, "input_tokens"))
        ),
        output_tokens=mean(
            lambda run: _sum_over_calls(run, lambda c: _token_count(c, "output_tokens"))
        ),
        cost=mean(lambda run: _sum_over_calls(run, lambda c: _call_cost(c, all_prices))),
        teraflops=mean(lambda run: teraflops(run, sizes)),
        unpriced=_model_names(
            answered, lambda c: c.usage is not None and _call_cost(c, all_prices) is None
        ),
        uncounted=_model_names(answered, lambda c: _token_count(c, "output_tokens") is None),
        unsized=_model_names(answered, lambda c: _teraflops_of_tokens(c.model, 1, sizes) is None),
        assumed=_model_names(
            answered, lambda c: bool((s := model_size(c.model, sizes)) and s.assumed)
        ),
        failed=sum(call.error is not None and call.usage is None for run in runs for call in run),
    )


def _model_names(calls: Iterable[AgentCall], predicate: Callable[[AgentCall], bool]) -> list[str]:
    return sorted({call.model for call in calls if predicate(call)})


def _sum_over_calls(
    calls: Sequence[AgentCall], value: Callable[[AgentCall], float | None]
) -> float | None:
    """Sum a value over the calls, if it is known for all that answered."""
    values = [value(call) for call in calls if call.error is None or call.usage]
    known = [each for each in values if each is not None]
    return None if _is_shorter(known, values) or not values else sum(known)


def _token_count(call: AgentCall, kind: str) -> float | None:
    if call.usage is None:
        return None if provider_of(call.model).is_language_model else 0.0
    return float(call.usage[kind])


class CallPrices:
    """Prices of single calls, as in `measure_resource_use`.

    Args:
        prices: As in `measure_resource_use`.
    """

    def __init__(self, prices: Prices | None = None) -> None:
        self._prices = default_prices(prices)

    def sum_costs(self, calls: Sequence[AgentCall]) -> float | None:
        """Return the total cost of calls; `None` if it is unknown for one that answered."""
        return _sum_over_calls(calls, lambda call: _call_cost(call, self._prices))


def _call_cost(call: AgentCall, prices: Prices) -> float | None:
    if is_free_model(call.model) and (price := prices.get(call.model)) and call.usage:
        return price_tokens(price, call.usage)  # free, but with a price of the user
    if provider_of(call.model).replays_files:
        return None
    return estimate_cost(call.model, call.usage, prices)


def pareto_front(points: Mapping[str, tuple[float | None, float | None]]) -> list[str]:
    """Return the systems that no other one beats in cost or quality without losing the other.

    Args:
        points: Cost (lower is better) and quality (higher is better) of each system. A system with
            an unknown value is ignored.

    Returns:
        Their names, cheapest first.
    """
    complete = {
        name: (cost, quality)
        for name, (cost, quality) in points.items()
        if cost is not None and quality is not None and isfinite(cost) and isfinite(quality)
    }
    front, last = list[str](), (nan, -inf)
    for name, point in sorted(complete.items(), key=lambda item: (item[1][0], -item[1][1])):
        if point[1] > last[1] or point == last:
            front.append(name)
            last = point
    return front
