"""What all benchmarks share: variants taken in turns, medians, ratios, a table, a file."""

import argparse
import asyncio
import gc
import json
import platform
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

PACKAGES = ("langgraph", "langchain-core", "langchain-openai", "openai")


@dataclass(frozen=True)
class Sample:
    """What one round of a variant took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of this process, all threads."""


def options(description: str | None) -> argparse.Namespace:
    """Read the options that all benchmarks have: `quick`, `json`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    return parser.parse_args()


async def interleave(
    variants: Mapping[str, Callable[[], Awaitable[Any]]], rounds: int, *, warm: int = 1
) -> dict[str, list[Sample]]:
    """Take the variants in turns, so that what disturbs the machine disturbs all of them."""
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    for number in range(-warm, rounds):
        for name, run in variants.items():
            gc.collect()
            sample = await _take(run)
            if number >= 0:
                samples[name].append(sample)
    return samples


async def _take(run: Callable[[], Awaitable[Any]]) -> Sample:
    wall, cpu = time.perf_counter(), time.process_time()
    await run()
    return Sample(time.perf_counter() - wall, time.process_time() - cpu)


def wall(samples: Sequence[Sample]) -> float:
    """Give the median wall time, in seconds."""
    return median(sample.wall for sample in samples)


def cpu(samples: Sequence[Sample]) -> float:
    """Give the median CPU time, in seconds."""
    return median(sample.cpu for sample in samples)


def paired(samples: Sequence[float], base: Sequence[float]) -> float:
    """Give the median of the ratios of rounds taken side by side."""
    return median(one / other for one, other in zip(samples, base, strict=True))


def memory() -> int:
    """Give the most resident memory that this process ever had, in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def report(title: str, rows: Sequence[Mapping[str, Any]], path: Path | None, **facts: Any) -> None:
    """Print the rows as a table of Markdown; write them to a file, if there is to be one."""
    columns = list(rows[0])
    cells = [columns, *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = [f"| {' | '.join(c.ljust(w) for c, w in zip(x, widths, strict=True))} |" for x in cells]
    lines.insert(1, f"|{'|'.join('-' * (width + 2) for width in widths)}|")
    print(f"\n{title}\n", *lines, *(f"{key}: {value}" for key, value in facts.items()), sep="\n")
    if path:
        machine = {
            "python": platform.python_version(),
            **{each: version(each) for each in PACKAGES},
        }
        whole = {"title": title, "rows": rows, "facts": facts, "versions": machine}
        path.write_text(json.dumps(whole, indent=2, default=str) + "\n", encoding="utf-8")


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 100 else f"{value:,.0f}"
    return "" if value is None else str(value)


def run(main: Awaitable[None]) -> None:
    """Run a benchmark to its end."""
    asyncio.run(main)  # type: ignore[arg-type]
