"""Retired models, from the package's own table and `genai-prices`."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import cache
from importlib.metadata import version
from typing import Any

from moa_graph.evals.data import read_table
from moa_graph.models.agent import Agent
from moa_graph.models.providers import provider_of


def describe_retired(agents: Iterable[Agent], today: date | None = None) -> list[str]:
    """Describe the models that are retired, or may be.

    Other servers may still have a model, so models with a `base_url` are left out.

    Args:
        agents: The agents.
        today: By default today, in UTC.

    Returns:
        A sentence for each model.
    """
    day = today or datetime.now(UTC).date()
    labels = sorted({agent.label for agent in agents if not agent.base_url})
    return [f"{label}: {reason}" for label in labels if (reason := _find_reason(label, day))]


def _find_reason(label: str, today: date) -> str | None:
    if shutdown := _shutdown_dates().get(label):
        day, source = shutdown
        verb = "was shut down" if date.fromisoformat(day) <= today else "is to be shut down"
        return f"{verb} on {day} ({source})"
    provider = provider_of(label)
    if not provider.is_language_model:
        return None
    return _find_in_price_data(provider.price_provider or provider.name, label.partition(":")[2])


@cache
def _shutdown_dates() -> dict[str, tuple[str, str]]:
    rows = read_table("models")["retired"]
    return {model: (row["date"], row["source"]) for row in rows for model in row["models"]}


def _find_in_price_data(provider: str, name: str) -> str | None:
    """Return whether `genai-prices` marks a model as deprecated, or does not list it."""
    with suppress(ImportError):
        from genai_prices.data_snapshot import get_snapshot  # optional and slow to import

        source = f"genai-prices {version('genai-prices')}"
        provider_prices = {each.id: each for each in get_snapshot().providers}.get(provider)
        if provider_prices is None:
            return None
        models = list(_matching_models(provider_prices, name))
        if not models:
            return f"is not among the models that {source} knows of {provider}; perhaps retired"
        if all(model.deprecated for model in models):
            return f"is deprecated ({source})"
    return None


def _matching_models(provider: Any, name: str) -> Iterator[Any]:
    return (model for model in provider.models if model.is_match(name))
