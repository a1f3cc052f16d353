"""Data files of the package: sizes and prices of models, published figures."""

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def read_table(name: str) -> dict[str, Any]:
    """Return the table `models` or `published`; do not change it.

    Raises:
        FileNotFoundError: If there is no such table.
    """
    text = files("moa_graph.evals").joinpath(f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
