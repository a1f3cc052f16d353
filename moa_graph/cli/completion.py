"""Shell completion of presets, threads, layers and proposals, with light imports."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import typer

from moa_graph.graph.node_names import (
    AGGREGATOR,
    ANALYSIS,
    ROUTER,
    VOTE,
    VOTES,
    layer_name,
    proposer_node_name,
)

MAX_SUGGESTIONS = 50  # number of completions

PRESETS_FOLDER = Path(__file__).parent.parent / "config" / "presets"


def complete_presets(incomplete: str) -> list[str]:
    """Complete the name of a preset."""
    return sorted(path.stem for path in PRESETS_FOLDER.glob(f"{_escape_glob(incomplete)}*.toml"))


def complete_threads(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a thread of an SQLite database, newest first."""
    query = (
        "SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' "
        "GROUP BY thread_id ORDER BY max(checkpoint_id) DESC"
    )
    names = (row[0] for row in _query_database(context, query))
    return [name for name in names if name.startswith(incomplete)][:MAX_SUGGESTIONS]


def complete_layers(context: typer.Context, incomplete: str) -> list[str]:
    """Complete the first part of a fork."""
    mixture = _read_mixture(context)
    layers = map(layer_name, range(1, 1 + len(mixture.get("layers", ()))))
    router = [ROUTER] if mixture.get("router") else []
    votes = [VOTES] if mixture.get("aggregation") == VOTE else []
    analysis = [ANALYSIS] if mixture.get("analysis") else []
    names = [*router, *layers, *votes, *analysis, AGGREGATOR]
    return [name for name in names if name.startswith(incomplete)]


def complete_proposals(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a proposal of a thread."""
    rows = enumerate(_read_mixture(context).get("layers", ()), 1)
    nodes = [proposer_node_name(number, name) for number, row in rows for name in row]
    return [node for node in nodes if node.startswith(incomplete)]


def _read_mixture(context: typer.Context) -> dict[str, Any]:
    """Read the mixture in the metadata of a thread's last checkpoint."""
    query = (
        "SELECT metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' "
        "ORDER BY checkpoint_id DESC LIMIT 1"
    )
    # After an option without its value, click has not parsed the thread.
    thread = context.params.get("thread") or next(iter(context.args), None)
    with suppress(ValueError, KeyError, TypeError):
        for (metadata,) in _query_database(context, query, thread):
            return dict(json.loads(json.loads(metadata)["moa_config"]))
    return {}


def _query_database(context: typer.Context, query: str, *values: Any) -> Iterator[Any]:
    """Query an existing SQLite database without changing it."""
    # Like `runs.store`, whose import of LangGraph is slow.
    from platformdirs import user_data_path

    location = context.params.get("db") or os.environ.get("MOA_DB")
    with suppress(sqlite3.Error, OSError, ValueError, RuntimeError):  # there may be no home folder
        path = Path(
            location or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
        ).expanduser()
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0.2)) as connection:
            yield from connection.execute(query, values)


def _escape_glob(text: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in text)
