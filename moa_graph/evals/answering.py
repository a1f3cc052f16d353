"""How a mixture answers an item: turn by turn, with all that came of it."""

from collections.abc import Callable, Sequence
from functools import cache
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from moa_graph.config.model import MoAConfig
from moa_graph.evals.call_store import Ledger, Record, listening
from moa_graph.evals.datasets import Benchmark, Item
from moa_graph.evals.results_file import Row
from moa_graph.evals.systems import metered
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.state import Proposal
from moa_graph.models.pricing import estimate_cost
from moa_graph.redaction import describe
from moa_graph.runs.jobs import PartialError

MT_BENCH_TOKENS = 1024
MT_BENCH_TEMPERATURE = 0.7
"""Of a category that is not among those below."""
MT_BENCH_TEMPERATURES = {
    **dict.fromkeys(("writing", "roleplay"), 0.7),
    **dict.fromkeys(("extraction", "math", "coding", "reasoning"), 0.0),
    **dict.fromkeys(("stem", "humanities"), 0.1),
}

_KEPT = ("layer", "model", "content", "error", "usage", "seconds", "finish_reason", "cut", "unread")


class System:
    """A mixture that answers the items of a benchmark; its models are built at once.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
    """

    def __init__(self, config: MoAConfig, benchmark: Benchmark, ledger: Ledger) -> None:
        self._prices = config.prices
        self._by_category = benchmark.name == "mt_bench"

        @cache
        def graph(temperature: float | None) -> Any:
            options: dict[str, Any] = {}
            if temperature is not None:
                options = {"temperature": temperature, "max_tokens": MT_BENCH_TOKENS}
            return metered(config, ledger, **options).graph().compile(name=config.name)

        self._graph: Callable[[float | None], Any] = graph
        for item in benchmark.items:
            graph(self._temperature(item))

    async def answer(self, item: Item) -> Row:
        """Run the mixture on each turn of an item.

        Returns:
            What is kept of it: a row of the journal.

        Raises:
            PartialError: If there is no answer to one of the turns.
        """
        graph, clock = self._graph(self._temperature(item)), perf_counter()
        messages, turns = list[AnyMessage](), list[Row]()
        for instruction in item.turns:
            messages.append(HumanMessage(instruction))
            turns.append({"instruction": instruction} | await self._turn(graph, messages))
            if turns[-1]["error"]:
                break
            messages.append(AIMessage(turns[-1]["answer"]))
        row = {
            "turns": turns,
            "answer_id": uuid4().hex,
            "seconds": round(perf_counter() - clock, 3),
            "ended": round(time(), 3),
        }
        if cause := turns[-1]["error"]:
            raise PartialError(cause, row)
        return row

    def _temperature(self, item: Item) -> float | None:
        """Give the temperature that the benchmark asks for, if it does."""
        if not self._by_category:
            return None
        usual = MT_BENCH_TEMPERATURES.get(item.category or "", MT_BENCH_TEMPERATURE)
        return float(item.row.get("required_temperature", usual))

    async def _turn(self, graph: Any, messages: Sequence[AnyMessage]) -> Row:
        state: dict[str, Any] = {}
        records, error = list[Record](), None
        try:
            with listening(records.append):
                async for values in graph.astream({"messages": messages}, stream_mode="values"):
                    state = values
        except Exception as failure:  # noqa: BLE001  # it is this item's
            error = describe(failure)
        written = state.get("proposals", {})
        proposals = {
            node: self._proposal(node, written[node], records)
            for node in graph.builder.nodes  # in the order of the mixture
            if node in written
        }
        answer = None if error else state["messages"][-1]
        return {
            "answer": answer.text if answer else None,
            "error": error,
            "proposals": proposals,
            "aggregator": self._aggregator(answer, records) if answer else None,
        }

    def _proposal(self, node: str, proposal: Proposal, records: Sequence[Record]) -> Row:
        kept: Row = {name: proposal[name] for name in _KEPT}  # type: ignore[literal-required]
        return kept | self._paid(node, proposal["model"], records)

    def _aggregator(self, answer: AIMessage, records: Sequence[Record]) -> Row:
        account = answer.response_metadata["moa"]
        row = {"model": account["aggregator"], "unread": account["unread"]}
        return row | self._paid(AGGREGATOR, account["aggregator"], records)

    def _paid(self, node: str, label: str, records: Sequence[Record]) -> Row:
        """Tell what a call took when it was made, which may be long ago."""
        made = [each for each in records if each.node == node and each.label == label]
        if not made:
            return {"cost": None}  # it was cut off
        usage = made[-1].usage
        return {
            "usage": dict(usage) if usage else None,
            "seconds": made[-1].seconds,
            "cost": estimate_cost(label, usage, self._prices),
        }
