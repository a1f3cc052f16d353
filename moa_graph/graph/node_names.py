"""Names of agents: what LangGraph allows, and what is made up where none is given."""

import re
from collections.abc import Collection
from itertools import chain, count
from typing import Any

AGGREGATOR = "aggregator"


def check_agent_name(name: Any) -> str:
    """Refuse a name that LangGraph, or the graph itself, could not keep apart from others.

    Raises:
        ValueError: If it is refused.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[^\s:|](?:[^:|\n\r]*[^\s:|])?", name):
        raise ValueError(f"expected a name without ':', '|' and line breaks, got {name!r}")
    if name == AGGREGATOR:
        raise ValueError(f"{name!r} is the name of a layer's hub; expected another name")
    return str(name)


def slugify_label(label: str) -> str:
    """Shorten `together:Qwen/Qwen2.5-72B` to `qwen2.5-72b`."""
    name = label.partition(":")[2] or label
    short = re.sub(r"[^\w.-]+", "-", name.rpartition("/")[2]).strip("-").lower()
    return "model" if short in {"", AGGREGATOR} else short


def make_unique_name(base: str, taken: Collection[Any]) -> str:
    """Number a name from `_2` on where it is taken."""
    candidates = chain([base], (f"{base}_{number}" for number in count(2)))
    return next(name for name in candidates if name not in taken)
