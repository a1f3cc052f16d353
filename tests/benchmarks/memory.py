"""Memory of runs that wait: 1,000 at a time, each with a prompt of its own of about 8,000 tokens.

A first run is answered, for a client may hold what it sends until it knows a server. Then each
run's six proposers hang. The memory that the process gains meanwhile is divided by the runs; what
it gains more with long prompts than with short ones, by the length of a prompt: how often a run
holds its conversation. Once is the least: somebody asks it.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import measuring
import mixtures
from openai import AsyncOpenAI
from server import Server, serving

WORDS = 6000  # about 8,000 tokens
VARIANTS = (
    "moa_graph",
    "moa_graph of ChatOpenAI objects",
    "gather, one AsyncOpenAI",
    "naive graph of ChatOpenAI objects",
)


def main() -> None:
    """Measure, each variant in a process of its own."""
    options = measuring.options(__doc__)
    runs = 20 if options.quick else 1000
    rows = []
    with serving({"*": {"latency": 3600, "at_once": 1}}) as server:
        for name in VARIANTS:
            short, long = (_child(server, name, runs, words) for words in (10, WORDS))
            length = len(_question(0, WORDS)) - len(_question(0, 10))
            copies = (long - short) / length
            rows.append({"variant": name, "kB / run": long / 1024, "copies": copies})
    measuring.report("Memory of a waiting run", rows, options.json, runs=runs, words=WORDS)


def _child(server: Server, name: str, runs: int, words: int) -> float:
    server.take_counts()  # its first calls are answered at once
    command = [sys.executable, __file__, "--url", server.url, "--variant", name]
    told = subprocess.run(
        [*command, "--runs", f"{runs}", "--words", f"{words}"],
        stdout=subprocess.PIPE,
        env={**os.environ, "MOA_MAX_CONNECTIONS": f"{runs * 6}"},
        check=True,
    )
    return float(json.loads(told.stdout))


async def waiting(url: str, name: str, runs: int, words: int) -> float:
    """Give the bytes that this process gains for each run that waits."""
    client = AsyncOpenAI(base_url=url, api_key="none")
    builders: dict[str, Any] = {
        VARIANTS[0]: lambda: mixtures.asking(mixtures.named(url, 1)),
        VARIANTS[1]: lambda: mixtures.asking(mixtures.objects(url, 1)),
        VARIANTS[2]: lambda: mixtures.gathering(client, 1),
        VARIANTS[3]: lambda: mixtures.naive(url, 1),
    }
    run = builders[name]()
    await run(_question(-1, 10))  # what the first run of all costs
    before = _resident()
    tasks = [asyncio.create_task(run(_question(number, words))) for number in range(runs)]
    gained = [0.0]
    while len(gained) < 4 or gained[-1] > 1.001 * gained[-4]:  # until all of them wait
        await asyncio.sleep(1)
        gained.append(_resident() - before)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()
    return gained[-1] / runs


def _question(number: int, words: int) -> str:
    return f"Question {number}: " + "word " * words


def _resident() -> int:
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL(None).malloc_trim(0)  # what is free, but not given back, is held by nobody
    pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    if "--variant" not in sys.argv:
        main()
    else:
        parser = argparse.ArgumentParser()
        for option, kind in {"url": str, "variant": str, "runs": int, "words": int}.items():
            parser.add_argument(f"--{option}", type=kind)
        asked = parser.parse_args()
        print(asyncio.run(waiting(asked.url, asked.variant, asked.runs, asked.words)))
