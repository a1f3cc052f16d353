"""The node cache of the command line: a file beside the runs."""

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
    """Where answers are kept, and for how long."""

    cache: BaseCache[Any] | None = None
    ttl: int | None = None
    """Seconds; `None` for as long as the mixture's own policy says."""

    def policy_for(self, mixture: MoAConfig) -> CachePolicy[Any] | None:
        """Give the policy for the answers of a mixture."""
        if self.cache is None:
            return None
        own_ttl = mixture.cache_policy.ttl if mixture.cache_policy else None
        return CachePolicy(ttl=own_ttl if self.ttl is None else self.ttl)


def open_node_cache(db: str | None, ttl: int | None) -> NodeCache:
    """Open the cache that belongs to a database of runs; without a home, warn and do without.

    Args:
        db: The database; the cache of one in PostgreSQL is where runs are kept by default.
        ttl: Seconds for which an answer counts; `None` for as long as the mixture's own
            `cache_policy` says, or else for any time.

    Raises:
        CommandError: If the file cannot be used.
    """
    try:
        path = sqlite_path(db).with_suffix(".cache.sqlite")
    except (OSError, StoreError) as error:
        if db:
            raise CommandError(f"cannot use a cache: {error}") from None
        print_warning(f"moa: cannot use a cache: {error}; every model is asked")
        return NodeCache()
    try:
        restrict_to_owner(path)
        return NodeCache(SqliteCache(path=str(path)), ttl)
    except (sqlite3.Error, OSError) as error:
        raise CommandError(f"cannot use the cache {path}: {error}") from None


def print_savings(run: RunRecord) -> None:
    """Say on standard error what came from the cache, and what it would have taken."""
    if run.cached_calls:
        print_warning(f"moa: {describe_savings(run)}")


def describe_savings(run: RunRecord) -> str:
    """Say what came from the cache, and what it would have taken."""
    cached_usages = [call.cached["usage"] for call in run.cached_calls if call.cached]
    tokens = sum(usage["total_tokens"] for usage in cached_usages if usage)
    costs = [call.saved_cost for call in run.cached_calls]
    cost = _sum_known_costs(costs)
    lower_bound = "at least " if None in cached_usages or (None in costs and cost) else ""
    count = f"{len(run.cached_calls)} of {len(run.calls)} answers came from the cache"
    return f"{count}: {lower_bound}{tokens:,} tokens, {format_cost(cost)} saved"


def _sum_known_costs(costs: Sequence[float | None]) -> float | None:
    """Sum what is known; `None` where that is nothing."""
    cost = sum(each or 0.0 for each in costs)
    return None if cost == 0 and None in costs else cost
