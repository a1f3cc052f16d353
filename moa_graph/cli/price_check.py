"""Whether `--max-cost` can be kept."""

from collections.abc import Iterable

from moa_graph.cli.errors import CommandError
from moa_graph.models.pricing import Prices, estimate_cost
from moa_graph.models.providers import provider_of


def check_prices(labels: Iterable[str], prices: Prices, price_source: str) -> None:
    """Refuse a limit that cannot be kept.

    Raises:
        CommandError: If the price of a model is not known.
    """
    usage = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
    paid_labels = [label for label in labels if not provider_of(label).replays_files]
    if unknown := [label for label in paid_labels if estimate_cost(label, usage, prices) is None]:
        raise CommandError(
            f"--max-cost cannot be kept: no price is known for {', '.join(unknown)}; give it in "
            f"{price_source}, in dollars for a million tokens read and written"
        )
