"""All benchmarks, one after another, and what they were to reach: one table at the end.

`--json FOLDER` keeps the figures of each there. About an hour on a machine with nothing else to do.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import measuring

HERE = Path(__file__).parent
PROGRAMS = ("run", "stream", "start", "sync", "many", "memory", "checkpoints", "tail", "prefix")
OURS, GATHER = "moa_graph", "gather, one AsyncOpenAI"
NAIVE = "naive graph of ChatOpenAI objects"
AUTHORS = "references one after another (the authors')"


class Bound(NamedTuple):
    """What a figure of a table may be at most."""

    what: str
    file: str
    figure: str
    """The column."""
    row: Mapping[str, Any]
    """What stands in the other columns."""
    most: float
    peers: tuple[str, ...] = ()
    """Variants of the same table that stand beside ours."""


def _variant(name: str = OURS, **more: Any) -> dict[str, Any]:
    return {"variant": name, **more}


WALL, CPU = "2x6: wall / critical path", "3x6 at 0 ms: CPU / gather"
PEERS = (GATHER, NAIVE, AUTHORS)
STREAM = {"run": "proposers hidden (default)"}
BOUNDS = [
    Bound("a run: wall / critical path", "run", WALL, _variant(), 1.02, PEERS),
    Bound("the same, SQLite", "run", WALL, _variant(f"{OURS}, SQLite"), 1.03, PEERS),
    Bound("a run: CPU / gather", "run", CPU, _variant(), 1.2, PEERS),
    Bound("the same, SQLite", "run", CPU, _variant(f"{OURS}, SQLite"), 1.3, PEERS),
    Bound("streamed calls of a run", "stream", "streamed calls", STREAM, 1),
    Bound("first token, ms late", "stream", "first token after critical path, ms", STREAM, 40),
    Bound("streamed run: CPU / ainvoke", "stream", "CPU / ainvoke", STREAM, 3.5),
    *(
        Bound(
            f"{rate} tokens/s: wall / raw client",
            "stream-pace",
            "wall / raw client",
            {"tokens a second": rate},
            1.01,
        )
        for rate in (100, 500, 2000)
    ),
    Bound("moa --help / bare typer", "start", "wall ratio", {"program": "moa --help"}, 3),
    *(
        Bound(f"invoke, {width} proposers", "sync", "invoke", {"proposers a layer": width}, 1.1)
        for width in (6, 12, 24)
    ),
    *(
        Bound(
            f"{size} runs: median wall / critical path",
            "many",
            "median",
            _variant(**{"at a time": size}),
            most,
            ("floor", GATHER, NAIVE),
        )
        for size, most in ((64, 1.5), (256, 5))
    ),
    Bound("copies of the conversation in a waiting run", "memory", "copies", _variant(), 2, PEERS),
    *(
        Bound(
            f"{layers} layers: bytes / proposals, {name}",
            "checkpoints-bytes",
            name,
            {"layers": layers},
            2.4,
        )
        for name in ("SQLite", "PostgreSQL")
        for layers in (1, 2, 3, 5, 10)
    ),
]


def main() -> None:
    """Run all, and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--json", type=Path, help="a folder for the figures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as passing:
        folder = options.json or Path(passing)
        folder.mkdir(parents=True, exist_ok=True)
        for program in PROGRAMS:
            words = ["--json", str(folder / f"{program}.json"), *["--quick"] * options.quick]
            subprocess.run([sys.executable, HERE / f"{program}.py", *words], check=True)
        measuring.report("What was to be reached", list(_compare(folder)), folder / "all.json")


def _compare(folder: Path) -> Iterator[dict[str, Any]]:
    for bound in BOUNDS:
        table = json.loads((folder / f"{bound.file}.json").read_text("utf-8"))["rows"]
        figure = _figure(table, bound, bound.row)
        if figure is None:  # `--quick` leaves it out
            continue
        yield {
            "figure": bound.what,
            "at most": bound.most,
            "measured": figure,
            "": "" if figure <= bound.most else "MISSED",
            **{
                peer: _figure(table, bound, {**bound.row, "variant": peer})
                if peer in bound.peers
                else None
                for peer in ("floor", *PEERS)
            },
        }


def _figure(table: list[dict[str, Any]], bound: Bound, row: Mapping[str, Any]) -> float | None:
    for each in table:
        if all(each.get(key) == value for key, value in row.items()):
            return float(each[bound.figure])
    return None


if __name__ == "__main__":
    main()
