"""Names in data stored by earlier versions, and their present names.

Threads, batches and evaluations of earlier versions can continue: code that reads stored data
translates the names here.
"""

from collections.abc import Mapping
from typing import Any

OLD_AGGREGATIONS = {"write": "synthesize"}
"""Old values of the option `aggregation`, whose old name is `final`."""


def translate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of `create_moa` with their present names and values."""
    translated = {("aggregation" if k == "final" else k): value for k, value in options.items()}
    value = translated.get("aggregation")
    if isinstance(value, str):
        translated["aggregation"] = OLD_AGGREGATIONS.get(value, value)
    return translated


OLD_PROPOSAL_KEYS = {
    "cut": "truncated_chars",
    "unread": "dropped_reference_chars",
    "turn": "turn_id",
    "id": "attempt_id",
}
"""Old and present keys of a `Proposal`."""


def translate_proposal(proposal: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a proposal, or an update of one, with its present keys."""
    if OLD_PROPOSAL_KEYS.keys().isdisjoint(proposal):
        return proposal
    return _rename_keys(proposal, OLD_PROPOSAL_KEYS)


OLD_SUMMARY_KEYS = {
    "received": "answered",
    "causes": "errors",
    "unread": "dropped_reference_chars",
    "saved": "saved_usage",
}
"""Old and present keys of `response_metadata["moa"]`."""


def translate_summary(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run summary with its present keys only."""
    return _rename_keys(summary, OLD_SUMMARY_KEYS)


def _rename_keys(data: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Rename keys; if a mapping has both, the value of the present key is used."""
    stale = {old for old, new in names.items() if new in data}
    return {names.get(key, key): value for key, value in data.items() if key not in stale}
