"""What earlier versions stored under other names, and what it is called now.

Threads, batches and evaluations of these versions go on: whoever reads what an earlier process
stored translates it here.
"""

from collections.abc import Mapping
from typing import Any

OLD_AGGREGATIONS = {"write": "synthesize"}
"""Old values of the option `aggregation`, which was called `final`."""


def translate_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give options of `create_moa` with their present names and values."""
    translated = {("aggregation" if k == "final" else k): value for k, value in options.items()}
    value = translated.get("aggregation")
    if isinstance(value, str):
        translated["aggregation"] = OLD_AGGREGATIONS.get(value, value)
    return translated
