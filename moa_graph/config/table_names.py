"""Hints for common mistakes in TOML files, such as misspelt tables and missing quotes."""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from moa_graph.validation_errors import suggest_name

LAYERS_EXAMPLE = 'layers = [["openai:gpt-6.1-sol", "openai:gpt-6.1-terra"]]'


def check_layers(layers: Any) -> None:
    """Reject agents where layers of agents are expected.

    Raises:
        ValueError: If there are any; the message shows the correct form.
    """
    flat = [each for each in layers if isinstance(each, str)] if isinstance(layers, list) else []
    if isinstance(layers, (str, Mapping)) or flat:
        found = repr(flat[0]) if flat else "one" if isinstance(layers, str) else "a table"
        raise ValueError(
            "layers: expected a list of layers, each a list or a table of agents, such as "
            f"{LAYERS_EXAMPLE}; got {found} instead of a layer"
        )


def check_dotted_names(table: Any, location: str, known_keys: AbstractSet[str]) -> None:
    """Reject a table that TOML has created from a name with a dot.

    Args:
        table: Names and their values.
        location: Location of the table.
        known_keys: The keys of a table at such a name.

    Raises:
        ValueError: If there is one; the message shows the correct form.
    """
    for name, value in table.items() if isinstance(table, Mapping) else ():
        if isinstance(value, Mapping) and value and not _has_key_like(known_keys, value):
            dotted = _join_dotted(name, value, known_keys)
            raise ValueError(
                f'{location}.{dotted}: put a name with a dot in quotes in TOML: "{dotted}"'
            )


def describe_agent_key(key: str) -> str:
    """Describe where a key of agents belongs that is in the table of the mixture."""
    return (
        "unknown key; it belongs to each agent, such as "
        f'{{ model = "openai:gpt-6-luna", {key} = ... }}'
    )


def check_misplaced_keys(agents: Any, mixture_keys: AbstractSet[str]) -> None:
    """Reject a key of the mixture that follows `[agents]`, where TOML makes it an agent.

    Raises:
        ValueError: If there is one; the message says where it belongs.
    """
    for name, value in agents.items() if isinstance(agents, Mapping) else ():
        if name in mixture_keys and isinstance(value, (int, float, list)):
            raise ValueError(
                f"agents.{name}: put keys of the mixture above the first table, here [agents]"
            )


def describe_unquoted_name(text: str) -> str:
    """Return a hint for the name in a TOML text that needs quotes because of a colon."""
    unquoted = re.search(
        r"^[ \t]*([\w-]+:[\w./:-]+)[ \t]*=|[\[,=]\s*([\w-]+:[\w./:-]+)", text, re.MULTILINE
    )
    if not unquoted:
        return ""
    return f'; put a name with a colon in quotes: "{unquoted[1] or unquoted[2]}"'


def _has_key_like(known_keys: AbstractSet[str], table: Mapping[str, Any]) -> bool:
    return any(key in known_keys or suggest_name(key, known_keys) for key in table)


def _join_dotted(name: str, value: Any, known_keys: AbstractSet[str]) -> str:
    while isinstance(value, Mapping) and len(value) == 1 and not _has_key_like(known_keys, value):
        key, value = next(iter(value.items()))
        name = f"{name}.{key}"
    return name
