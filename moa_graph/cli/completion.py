"""What the shell completes: presets, threads, layers. Nothing heavy is imported for it."""

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import typer

from moa_graph.graph.node_names import AGGREGATOR, layer_name, proposer_node_name

MAX_SUGGESTIONS = 50  # threads that are offered

PRESETS_FOLDER = Path(__file__).parent.parent / "config" / "presets"


def complete_presets(incomplete: str) -> list[str]:
    """Complete the name of a preset."""
    return sorted(path.stem for path in PRESETS_FOLDER.glob(f"{_escape_glob(incomplete)}*.toml"))


def complete_threads(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a thread of an SQLite database, the newest first."""
    query = (
        "SELECT thread_id FROM checkpoints WHERE checkpoint_ns = '' "
        "GROUP BY thread_id ORDER BY max(checkpoint_id) DESC"
    )
    names = (row[0] for row in _query_database(context, query))
    return [name for name in names if name.startswith(incomplete)][:MAX_SUGGESTIONS]


def complete_layers(context: typer.Context, incomplete: str) -> list[str]:
    """Complete where a thread may be begun anew."""
    count = len(_read_layers(context))
    names = [*(layer_name(number + 1) for number in range(count)), AGGREGATOR]
    return [name for name in names if name.startswith(incomplete)]


def complete_proposals(context: typer.Context, incomplete: str) -> list[str]:
    """Complete a proposal of a thread."""
    rows = enumerate(_read_layers(context), 1)
    nodes = [proposer_node_name(number, name) for number, row in rows for name in row]
    return [node for node in nodes if node.startswith(incomplete)]


def _read_layers(context: typer.Context) -> list[dict[str, Any]]:
    """Read the layers of the mixture that is kept with a thread's last checkpoint."""
    query = (
        "SELECT metadata FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = '' "
        "ORDER BY checkpoint_id DESC LIMIT 1"
    )
    # Behind an option that still lacks its value, click leaves the thread unread.
    thread = context.params.get("thread") or next(iter(context.args), None)
    with suppress(ValueError, KeyError, TypeError):
        for (metadata,) in _query_database(context, query, thread):
            return list(json.loads(json.loads(metadata)["moa_config"])["layers"])
    return []


def _query_database(context: typer.Context, query: str, *values: Any) -> Iterator[Any]:
    """Read from the database, if it is one of SQLite and there is one; it is not changed."""
    # As in `store`, which would import LangGraph.
    from platformdirs import user_data_path

    location = context.params.get("db") or os.environ.get("MOA_DB")
    with suppress(sqlite3.Error, OSError, ValueError, RuntimeError):  # there may be no home
        path = Path(
            location or user_data_path("moa_graph", appauthor=False) / "runs.sqlite"
        ).expanduser()
        uri = f"{path.absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, timeout=0.2)) as connection:
            yield from connection.execute(query, values)


def _escape_glob(text: str) -> str:
    return "".join(f"[{each}]" if each in "*?[" else each for each in text)
