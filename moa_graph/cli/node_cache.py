"""The node cache of the command line, a file beside the database."""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from langgraph.cache.base import BaseCache
from langgraph.cache.sqlite import SqliteCache
from langgraph.types import CachePolicy

from moa_graph.atomic_files import restrict_to_owner
from moa_graph.cli.errors import CommandError
from moa_graph.cli.terminal.plain_text import print_warning
from moa_graph.config.model import MoAConfig
from moa_graph.runs.formatting import format_cost
from moa_graph.runs.record import RunRecord
from moa_graph.runs.store import StoreError, sqlite_path


@dataclass(frozen=True)
class NodeCache:
    """The cache, and the lifetime of its answers."""

    cache: BaseCache[Any] | None = None
    ttl: int | None = None
    """Lifetime in seconds; `None` for that in the mixture's policy."""

    def policy_for(self, mixture: MoAConfig) -> CachePolicy[Any] | None:
        """Return the cache policy for a mixture."""
        if self.cache is None:
            return None
        own_ttl = mixture.cache_policy.ttl if mixture.cache_policy else None
        return CachePolicy(ttl=own_ttl if self.ttl is None else self.ttl)


def open_node_cache(db: str | None, ttl: int | None) -> NodeCache:
    """Open the cache that belongs to a database; without a home folder, warn and use none.

    Args:
        db: The database. The cache for PostgreSQL is beside the default database.
        ttl: Lifetime of answers in seconds; `None` for that in the `cache_policy` of the mixture,
            or no limit.

    Raises:
        CommandError: If the file cannot be used.
    """
    try:
        path = sqlite_path(db).with_suffix(".cache.sqlite")
    except (OSError, StoreError) as error:
        if db:
            raise CommandError(f"cannot use a cache: {error}") from None
        print_warning(f"moa: cannot use a cache: {error}; every model is called")
        return NodeCache()
    try:
        restrict_to_owner(path)
        return NodeCache(SqliteCache(path=str(path)), ttl)
    except (sqlite3.Error, OSError) as error:
        raise CommandError(f"cannot use the cache {path}: {error}") from None


def print_savings(run: RunRecord) -> None:
    """Print on standard error the number and the original cost of cached answers."""
    if run.cached_calls:
        print_warning(f"moa: {describe_savings(run)}")


def describe_savings(run: RunRecord) -> str:
    """Describe the number and the original cost of cached answers."""
    cached_usages = [call.cached["usage"] for call in run.cached_calls if call.cached]
    tokens = sum(usage["total_tokens"] for usage in cached_usages if usage)
    costs = [call.saved_cost for call in run.cached_calls]
    cost = _sum_known_costs(costs)
    lower_bound = "at least " if None in cached_usages or (None in costs and cost) else ""
    count = f"{len(run.cached_calls)} of {len(run.calls)} answers came from the cache"
    return f"{count}: {lower_bound}{tokens:,} tokens, {format_cost(cost)} saved"


def _sum_known_costs(costs: Sequence[float | None]) -> float | None:
    """Sum the known costs; `None` if there are none."""
    cost = sum(each or 0.0 for each in costs)
    return None if cost == 0 and None in costs else cost
