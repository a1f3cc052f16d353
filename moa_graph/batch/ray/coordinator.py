"""Where the processes of a cluster ask before they begin a record, and tell what came of it."""

import asyncio
import os
from collections.abc import Mapping
from time import monotonic

from moa_graph.batch.budget import Budget
from moa_graph.batch.record_runner import Outcome
from moa_graph.config.model import MoAConfig
from moa_graph.runs.jobs import Tally

_OF_ALL = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}  # also in small letters
_OF_ALL |= {"SSL_CERT_FILE", "SSL_CERT_DIR", "MOA_MAX_CONNECTIONS"}

_ABBREVIATED = {  # where a provider's variables do not begin with a word of its name
    "anthropic_bedrock": {"AWS"},
    "bedrock": {"AWS"},
    "bedrock_converse": {"AWS"},
    "cohere": {"CO"},
    "google_genai": {"GEMINI"},
    "huggingface": {"HF", "HUGGINGFACEHUB"},
    "ibm": {"WATSONX"},
    "mistralai": {"MISTRAL"},
    "perplexity": {"PPLX"},
}


def environment(mixture: MoAConfig) -> dict[str, str]:
    """Pick the variables of a mixture's keys and providers, and of the way to any of them."""
    keys = mixture.required_keys()
    providers = {label.partition(":")[0] for label in mixture.labels()}
    words = {word for provider in providers for word in provider.upper().split("_")}
    words = words.union(*(_ABBREVIATED.get(provider, ()) for provider in providers))
    return {
        name: value
        for name, value in os.environ.items()
        if name in keys or name.upper() in _OF_ALL or name.partition("_")[0] in words
    }


class Desk:
    """Counts for all workers, and lets records be read and begun; an actor of Ray.

    A record whose worker is lost begins again elsewhere; it is counted once.

    Args:
        total: How many records there are.
        max_cost: As in `run_batch`.
        ahead: How many records may be read before the first that is not kept.
    """

    def __init__(self, total: int, max_cost: float | None, ahead: int) -> None:
        self._tally = Tally(total)
        self._budget = Budget(self._tally, max_cost)
        self._running = dict[int, asyncio.Future[bool]]()  # by line: whether it may begin
        self._over = set[int]()  # lines
        self._kept, self._ahead = 0, ahead
        self._environment: dict[str, str] = {}
        self._changed = asyncio.Condition()
        self._began = monotonic()

    async def age(self) -> float:
        """Tell how many seconds ago the work began; the clocks of machines differ."""
        return monotonic() - self._began

    async def equip(self, environment: Mapping[str, str]) -> None:
        """Take the variables that hold keys: Ray writes those of a `runtime_env` to its logs."""
        self._environment.update(environment)

    async def environment(self) -> Mapping[str, str]:
        """Give them to a worker."""
        return self._environment

    async def admit(self, place: int) -> bool:
        """Wait until there is room for the record at a place, from 0; tell if it is wanted."""
        async with self._changed:
            await self._changed.wait_for(
                lambda: self._tally.stopped or place < self._kept + self._ahead
            )
        return not self._tally.stopped

    async def begin(self, line: int) -> bool:
        """Tell whether the record of a line may begin, when that is known."""
        if line in self._over:  # with a worker that is lost
            return True
        if line not in self._running:  # else it waits or runs with one that is lost: count it once
            self._running[line] = asyncio.ensure_future(self._budget.begin())
        begins = await asyncio.shield(self._running[line])
        if not begins:
            self._running.pop(line, None)
        return begins

    async def end(self, line: int, outcome: Outcome) -> None:
        """Take in what came of a record that began."""
        if self._running.pop(line, None):
            self._over.add(line)
            await self._budget.end(outcome)

    async def look(self, kept: int, last: int) -> Tally:
        """Hear how many records are kept, and which line was the last; tell what is done."""
        self._kept = kept
        self._over = {line for line in self._over if line > last}
        async with self._changed:
            self._changed.notify_all()
        return self._tally
