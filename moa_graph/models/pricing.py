"""Estimate the cost of calls from given prices or `genai-prices`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from moa_graph.models.providers import provider_of

Prices = Mapping[str, Sequence[float]]
"""US dollars for a million tokens read and a million written, by `provider:model`."""

MILLION = 1_000_000

_MAX_UNLISTED = 1000
_unlisted = set[tuple[str, str]]()  # cached, because unknown models take longest


def estimate_cost(
    model: str, usage: Mapping[str, Any] | None, prices: Prices | None = None
) -> float | None:
    """Estimate the cost of a call.

    Args:
        model: The model: `provider:model`.
        usage: Its tokens as LangChain's `UsageMetadata`.
        prices: Prices that take precedence over those of the package `genai-prices`, which
            contains the list prices of many providers and is used if installed.

    Returns:
        US dollars, or `None` if the price or the tokens are unknown.
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


def check_prices(prices: Any) -> None:
    """Check that prices have the form for `estimate_cost`.

    Raises:
        ValueError: If they do not.
    """
    if not isinstance(prices, Mapping):
        raise ValueError(
            f"`prices`={prices!r}: expected models mapped to prices, such as "
            "{'openai:gpt-6.1-sol': (2.5, 10)}"
        )
    for model, price in prices.items():
        if not _is_price(price):
            raise ValueError(
                f"`prices`[{model!r}]={price!r}: expected US dollars for a million tokens read and "
                "for a million written, such as (2.5, 10)"
            )


def _is_price(value: Any) -> bool:
    is_pair = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
    return is_pair and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) and 0 <= each < math.inf
        for each in value
    )


def price_tokens(price: Sequence[float], usage: Mapping[str, Any]) -> float:
    """Return the cost of tokens at a price for a million read and written."""
    return float(price[0] * usage["input_tokens"] + price[1] * usage["output_tokens"]) / MILLION


def is_free_model(model: str) -> bool:
    """Return whether a model costs nothing: offline agents and stored outputs."""
    return provider_of(model).is_free


def _list_price(provider: str, name: str, usage: Mapping[str, Any]) -> float | None:
    if (provider, name) in _unlisted:
        return None
    try:
        from genai_prices import Usage, calc_price
    except ImportError:
        return None
    tokens = Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        cache_read_tokens=(usage.get("input_token_details") or {}).get("cache_read"),
    )
    try:
        return float(calc_price(tokens, model_ref=name, provider_id=provider).total_price)
    except LookupError:
        if len(_unlisted) < _MAX_UNLISTED:
            _unlisted.add((provider, name))
        return None
