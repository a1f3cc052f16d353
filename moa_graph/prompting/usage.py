"""Normalize token counts of providers to integers. Pure functions."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise
from math import ceil
from typing import Any, NamedTuple, cast

from langchain_core.messages.ai import UsageMetadata, add_usage

MAX_TOKENS = 10**12  # more than any call has; checkpoints store 64 bits

_INPUT_NAMES = ("input_tokens", "prompt_tokens")
_OUTPUT_NAMES = ("output_tokens", "completion_tokens")
_DETAIL_NAMES = ("input_token_details", "input_tokens_details", "prompt_tokens_details")
_CACHE_READ_NAMES = ("cache_read", "cached_tokens", "cache_read_input_tokens")
_CACHE_WRITE_NAMES = ("cache_creation", "cache_creation_input_tokens")


def clean_usage(usage: object) -> dict[str, Any] | None:
    """Normalize LangChain's `UsageMetadata`, whatever a provider's package put into it.

    Numbers may be texts or have a fraction, which is rounded up. One of the three may be missing if
    it follows from the others.

    Args:
        usage: The usage of a message.

    Returns:
        Integers of at least 0 with consistent details; `None` if they are unknown.
    """
    if not isinstance(usage, Mapping):
        return None
    counts = _read_counts(usage)
    if counts is None:
        return None
    cleaned: dict[str, Any] = {
        "input_tokens": counts.read,
        "output_tokens": counts.written,
        "total_tokens": counts.read + counts.written,
    }
    if counts.beside_input:
        details = usage.get("input_token_details")
        mapping = details if isinstance(details, Mapping) else {}
        usage = {**usage, "input_token_details": {**mapping, **counts.beside_input}}
    bounds = {"input_token_details": counts.read, "output_token_details": counts.written}
    for name, most in bounds.items():
        if isinstance(details := usage.get(name), Mapping):
            known_counts = {str(key): read_count(value) for key, value in details.items()}
            cleaned[name] = {
                key: count
                for key, count in known_counts.items()
                if count is not None and count <= most
            }
    return cleaned


def clean_openai_usage(usage: object) -> dict[str, Any] | None:
    """Normalize the `usage` of a chat completion in the same way; other details stay."""
    if not isinstance(usage, Mapping):
        return None
    counts = _read_counts(usage)
    if counts is None:
        return None
    cleaned = {
        **usage,
        "prompt_tokens": counts.read,
        "completion_tokens": counts.written,
        "total_tokens": counts.read + counts.written,
    }
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        if name in usage:
            cleaned[name] = _clean_details(usage[name])
    if "cache_read" in counts.beside_input:
        details = cleaned.get("prompt_tokens_details") or {}
        cached = {"cached_tokens": counts.beside_input["cache_read"]}
        cleaned["prompt_tokens_details"] = {**details, **cached}
    return cleaned


def merge_openai_usages(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the usage of two chunks of a stream: each is a total, possibly of some numbers."""
    merged = {**first, **second}
    for name, value in first.items():
        merged[name] = _merge_values(value, second.get(name))
    return merged


def sum_usages(usages: Iterable[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Sum the results of `clean_usage` for several calls; `None` if all are unknown."""
    total: UsageMetadata | None = None
    for usage in usages:
        total = add_usage(total, cast("UsageMetadata", usage))
    return dict(total) if total else None


def share_usage(usage: Mapping[str, Any], weights: Sequence[int]) -> list[dict[str, Any]]:
    """Divide the usage of one request among its answers.

    The first answer gets the prompt tokens. Each gets its share of the completion tokens: at least
    one, if there are enough.

    Args:
        usage: The tokens of the request.
        weights: Proportions of the completion tokens; each above 0.

    Returns:
        Parts with the sum of the request.
    """
    least = int(usage["output_tokens"] >= len(weights))
    shared = usage["output_tokens"] - least * len(weights)
    output_counts = [least + count for count in _share_number(shared, weights)]
    rest = usage["total_tokens"] - usage["output_tokens"]
    shares: list[dict[str, Any]] = [
        {"input_tokens": 0, "output_tokens": count, "total_tokens": count}
        for count in output_counts
    ]
    shares[0] |= {"input_tokens": usage["input_tokens"], "total_tokens": output_counts[0] + rest}
    if "input_token_details" in usage:
        shares[0]["input_token_details"] = usage["input_token_details"]
    for name, count in usage.get("output_token_details", {}).items():
        for share, part in zip(shares, _share_number(count, output_counts), strict=True):
            share.setdefault("output_token_details", {})[name] = part
    return shares


def read_count(value: object) -> int | None:
    """Return a number of tokens; `None` if it is not one."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return ceil(value) if 0 <= value < MAX_TOKENS else None  # NaN or infinite


def _share_number(number: int, weights: Sequence[int]) -> list[int]:
    """Divide an integer in proportion to weights; no part exceeds its rounded-up share."""
    total = sum(weights) or 1
    bounds = [number * reached // total for reached in accumulate(weights, initial=0)]
    return [end - start for start, end in pairwise(bounds)]


class _Counts(NamedTuple):
    read: int
    written: int
    beside_input: Mapping[str, int]
    """Prompt details that a provider counts in the total, but not in the input."""


def _read_counts(usage: Mapping[Any, Any]) -> _Counts | None:
    """Return prompt and completion tokens; `None` if they are incomplete."""
    tokens_read = _first_count(usage, _INPUT_NAMES)
    tokens_written = _first_count(usage, _OUTPUT_NAMES)
    total = read_count(usage.get("total_tokens"))
    if total and not tokens_read and not tokens_written:  # LangChain replaces missing values by 0
        return None
    if tokens_read is None:
        tokens_read = _difference_if_known(total, tokens_written)
    elif tokens_written is None:
        tokens_written = _difference_if_known(total, tokens_read)
    if tokens_read is None or tokens_written is None:
        return None
    excess = max((total or 0) - tokens_read - tokens_written, 0)
    beside_input = _cached_beside_input(usage, tokens_read, excess)
    in_cache = min(sum(beside_input.values()), excess)
    # Some providers include reasoning tokens, billed as completion tokens, only in the total.
    return _Counts(tokens_read + in_cache, tokens_written + excess - in_cache, beside_input)


def _cached_beside_input(
    usage: Mapping[Any, Any], tokens_read: int, excess: int
) -> Mapping[str, int]:
    """Return the part of a total's excess that was read from or written to the cache.

    It counts if it equals the excess, or exceeds the input that would include it.
    """
    if not excess:
        return {}
    parts = [usage, *(each for name in _DETAIL_NAMES if isinstance(each := usage.get(name), dict))]
    cached = {
        "cache_read": _most_count(parts, _CACHE_READ_NAMES),
        "cache_creation": _most_count(parts, _CACHE_WRITE_NAMES),
    }
    counts = {name: count for name, count in cached.items() if count}
    if sum(counts.values()) == excess:
        return counts
    if (count := cached["cache_read"]) == excess or count > tokens_read:
        return {"cache_read": min(count, tokens_read + excess)}
    return {}


def _most_count(parts: Sequence[Mapping[Any, Any]], names: Sequence[str]) -> int:
    """Return the highest number under one of several names."""
    counts = (read_count(part.get(name)) for part in parts for name in names)
    return max((count for count in counts if count), default=0)


def _difference_if_known(total: int | None, part: int | None) -> int | None:
    return None if total is None or part is None or total < part else total - part


def _first_count(usage: Mapping[Any, Any], names: tuple[str, ...]) -> int | None:
    counts = (read_count(usage[name]) for name in names if name in usage)
    return next((count for count in counts if count is not None), None)


def _clean_details(details: object) -> dict[str, int] | None:
    if not isinstance(details, Mapping):
        return None
    counts = {str(name): read_count(value) for name, value in details.items()}
    return {name: count for name, count in counts.items() if count is not None}


def _merge_values(first: object, second: object) -> object:
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return merge_openai_usages(first, second)
    counts = [count for each in (first, second) if (count := read_count(each)) is not None]
    return max(counts) if counts else second if second is not None else first
