"""Many runs at a time against a server that fails in every way.

    python tests/harness/soak.py --runs 2000

runs 2 layers of 4 proposers, 64 at a time on one event loop, with a fifth of the calls failing in
mixed ways, and checks that every run ends in an answer or in a `QuorumError`, and that no memory,
task, socket or file handle is left behind.
"""

import argparse
import asyncio
import ctypes
import gc
import json
import os
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from waiting import wait_until

from moa_graph import Agent, QuorumError, create_moa
from moa_graph.graph.deadlines import LayerDeadline

SERVER = Path(__file__).parent.parent / "server.py"
RATES = {
    429: 0.03,
    500: 0.03,
    503: 0.02,
    "reset": 0.02,
    "hang": 0.01,
    "drip": 0.01,
    "truncate": 0.02,
    "malformed": 0.02,
    "no choices": 0.01,
    "empty": 0.01,
    "content filter": 0.01,
    "wrong type": 0.008,
    "huge": 0.002,
}
SLOW = ("hang", "drip")  # what only a timeout ends
WRITERS = [f"w{number}" for number in range(8)]  # in place of the aggregator
PATIENCE = 120.0  # seconds that they get, who never hang: a busy machine is no finding


def behaviours():
    """Say what the models do: all fail, and those in place of the aggregator never by hanging."""
    others = {fault: rate for fault, rate in RATES.items() if fault not in SLOW}
    kinds = {"*": RATES, **dict.fromkeys(WRITERS, others)}
    return {name: {"latency": 0.05, "rates": rates} for name, rates in kinds.items()}


def mixture(url: str):
    """Two layers of four proposers; stragglers are cut off, and the aggregator has stand-ins."""

    def agent(name: str, timeout: float = 5) -> Agent:
        return Agent(model=f"openai:{name}", base_url=url, timeout=timeout, max_retries=1)

    layer = {name: agent(name) for name in "abcd"}
    fallbacks = [agent(name, PATIENCE) for name in WRITERS]
    return create_moa([layer] * 2, agent("w"), fallbacks=fallbacks, grace=2, deadline=10).compile()


def resident() -> float:
    """Memory of this process in MB, without what the allocator keeps for itself.

    The megabytes of a huge answer leave holes behind.
    """
    gc.collect()
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def handles() -> int:
    """Open file descriptors, sockets among them."""
    return len(list(Path("/proc/self/fd").iterdir()))


def layer_deadlines() -> int:
    """Count the deadlines of layers that are held."""
    gc.collect()
    return sum(type(each) is LayerDeadline for each in gc.get_objects())


async def answer_once(graph: Any) -> None:
    """Run until there is an answer: what a graph keeps is there behind a whole run."""
    while True:
        with suppress(QuorumError):
            await graph.ainvoke({"messages": "first"})
            return


async def soak(url: str, runs: int, at_a_time: int) -> dict[str, object]:
    """Run them all, and give the figures."""
    graph, outcomes, memory = mixture(url), Counter(), list[float]()
    await answer_once(graph)
    failed, own_deadlines = 0, layer_deadlines()
    numbers = iter(range(runs))

    async def worker() -> None:
        nonlocal failed
        for number in numbers:
            if number % max(1, runs // 10) == 0:
                memory.append(round(resident()))
            try:
                result = await graph.ainvoke({"messages": f"question {number}"})
                account = result["messages"][-1].response_metadata["moa"]
                failed += len(account["failed"])
                outcomes["full answer" if not account["failed"] else "degraded answer"] += 1
            except QuorumError:
                outcomes["QuorumError"] += 1
            except Exception as error:
                outcomes[f"other: {type(error).__name__}: {error}"[:200]] += 1

    started = time.monotonic()
    await asyncio.gather(*(worker() for _ in range(at_a_time)))
    with suppress(TimeoutError):
        await wait_until(lambda: len(asyncio.all_tasks()) == 1)
    return {
        "runs": runs,
        "seconds": round(time.monotonic() - started, 1),
        "outcomes": dict(outcomes),
        "failed proposals in answers": failed,
        "memory in MB, at each tenth": [*memory, round(resident())],
        "tasks left": len(asyncio.all_tasks()) - 1,
        "deadlines left": max(0, layer_deadlines() - own_deadlines),
    }


def main() -> None:
    """Run as a program."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--at-a-time", type=int, default=64)
    options = parser.parse_args()
    runs, at_a_time = options.runs, options.at_a_time
    warnings.simplefilter("error")
    command = [sys.executable, SERVER, "--models", json.dumps(behaviours())]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            url = server.stdout.readline().strip()
            asyncio.run(soak(url, at_a_time, at_a_time))  # imports, pools and caches are filled
            before = handles()
            figures = asyncio.run(soak(url, runs, at_a_time))
            figures["handles before and after"] = [before, handles()]
        finally:
            server.kill()
    print(json.dumps(figures, indent=2))
    memory = figures["memory in MB, at each tenth"]
    bad = [name for name in figures["outcomes"] if name.startswith("other")]
    leaks = figures["tasks left"] or figures["deadlines left"] or handles() > before + 2
    sys.exit(bool(bad or leaks or memory[-1] > memory[len(memory) // 2] * 1.2 + 20))


if __name__ == "__main__":
    main()
