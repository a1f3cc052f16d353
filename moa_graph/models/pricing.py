"""What calls cost: estimates, from prices that are given or that `genai-prices` knows."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from moa_graph.models.providers import provider_of

Prices = Mapping[str, Sequence[float]]
"""US dollars for a million tokens read and for a million written, by `provider:model`."""

MILLION = 1_000_000


def estimate_cost(
    model: str, usage: Mapping[str, Any] | None, prices: Prices | None = None
) -> float | None:
    """Estimate what a call cost.

    Args:
        model: What was asked: `provider:model`.
        usage: Its tokens, as LangChain's `UsageMetadata`.
        prices: Prices of one's own; they come before those of the package `genai-prices`, which
            is asked where it is installed and which knows the list prices of many providers.

    Returns:
        US dollars, or `None` where the price or the tokens are not known.
    """
    provider = provider_of(model)
    if not provider.is_language_model:
        return 0.0
    if usage is None:
        return None
    if price := (prices or {}).get(model):
        return price_tokens(price, usage)
    name = model.partition(":")[2]
    return _list_price(provider.price_provider or provider.name, name, usage)


def price_tokens(price: Sequence[float], usage: Mapping[str, Any]) -> float:
    """Give what tokens cost at a price for a million of those read and written."""
    return float(price[0] * usage["input_tokens"] + price[1] * usage["output_tokens"]) / MILLION


def is_free_model(model: str) -> bool:
    """Whether nobody is asked, and nobody paid: built-in agents, and stored outputs."""
    return provider_of(model).is_free


def _list_price(provider: str, name: str, usage: Mapping[str, Any]) -> float | None:
    with suppress(ImportError, LookupError):
        from genai_prices import Usage, calc_price  # noqa: PLC0415  # optional, and slow to import

        tokens = Usage(
            input_tokens=usage["input_tokens"],
            output_tokens=usage["output_tokens"],
            cache_read_tokens=(usage.get("input_token_details") or {}).get("cache_read"),
        )
        return float(calc_price(tokens, model_ref=name, provider_id=provider).total_price)
    return None
