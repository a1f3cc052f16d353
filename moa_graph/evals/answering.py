"""Answer an item with a mixture, turn by turn."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from time import perf_counter, time
from typing import Any
from uuid import uuid4

from langchain_core.messages import AIMessage, AnyMessage, HumanMessage

from moa_graph.config.model import MoAConfig
from moa_graph.evals.benchmark_data import BenchmarkData, BenchmarkItem
from moa_graph.evals.benchmarks.registry import benchmark_for
from moa_graph.evals.call_store import CallStore
from moa_graph.evals.results_file import JsonRow
from moa_graph.evals.systems import with_recorded_calls
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.state import Proposal
from moa_graph.models.pricing import estimate_cost
from moa_graph.prompting.parsing import ZERO_USAGE, read_finish_reason
from moa_graph.prompting.usage import clean_usage, sum_usages
from moa_graph.redaction import redacted_message
from moa_graph.runs.driver import TurnRun
from moa_graph.runs.jobs import PartialError
from moa_graph.runs.model_calls import CallRecord, call_listener, report_call

_PROPOSAL_FIELDS = (
    "layer",
    "model",
    "content",
    "error",
    "usage",
    "seconds",
    "finish_reason",
)


CallOptions = tuple[tuple[str, Any], ...]


class BenchmarkRunner:
    """A mixture that answers the items of a benchmark; its models are built immediately.

    Raises:
        ValueError: If a key is missing, or a model cannot be built.
    """

    def __init__(
        self,
        config: MoAConfig,
        benchmark: BenchmarkData,
        call_store: CallStore,
        repeat: int = 1,
    ) -> None:
        self._prices = config.prices
        self._benchmark = benchmark_for(benchmark.name)

        @cache
        def compile_graph(options: CallOptions) -> Any:
            mixture = with_recorded_calls(config, call_store, repeat=repeat, **dict(options))
            return mixture.graph().compile(name=config.name)

        self._compile_graph: Callable[[CallOptions], Any] = compile_graph
        for item in benchmark.items:
            self._graph_for(item)

    async def answer(self, item: BenchmarkItem) -> JsonRow:
        """Run the mixture on each turn of an item.

        Returns:
            The row for the results file.

        Raises:
            PartialError: If a turn has no answer.
        """
        graph, started_at = self._graph_for(item), perf_counter()
        messages, turns = list[AnyMessage](), list[JsonRow]()
        for instruction in item.turns:
            messages.append(HumanMessage(instruction))
            turns.append({"instruction": instruction} | await self._run_turn(graph, messages))
            if turns[-1]["error"]:
                break
            messages.append(AIMessage(turns[-1]["answer"]))
        row = {
            "turns": turns,
            "answer_id": uuid4().hex,
            "seconds": round(perf_counter() - started_at, 3),
            "ended": round(time(), 3),
        }
        if cause := turns[-1]["error"]:
            raise PartialError(cause, row)
        return row

    def _graph_for(self, item: BenchmarkItem) -> Any:
        """Return the graph of the mixture, with the options that the benchmark sets."""
        return self._compile_graph(tuple(sorted(self._benchmark.call_options(item).items())))

    async def _run_turn(self, graph: Any, messages: Sequence[AnyMessage]) -> JsonRow:
        records = list[CallRecord]()
        with call_listener(records.append):
            result = await TurnRun(graph, {}, {"messages": messages}).run_to_end()
        error = redacted_message(result.error) if result.error else None
        finished = result.values.get("proposals", {})
        proposals = {
            node: self._proposal_row(node, finished[node], records)
            for node in graph.builder.nodes  # in configured order
            if node in finished
        }
        answer = None if error else result.values["messages"][-1]
        writers = self._failed_writer_rows(answer, records)
        decisions = self._decision_rows(result.values.get("depth") or {}, records)
        return {
            "answer": answer.text if answer else None,
            "error": error,
            "proposals": proposals,
            "aggregator": self._aggregator_row(answer, records) if answer else None,
            **({"failed_writers": writers} if writers else {}),
            **({"decisions": decisions} if decisions else {}),
        }

    def _proposal_row(
        self, node: str, proposal: Proposal, records: Sequence[CallRecord]
    ) -> JsonRow:
        fields: JsonRow = {name: proposal[name] for name in _PROPOSAL_FIELDS}  # type: ignore[literal-required]
        fields["cut"] = proposal["truncated_chars"]
        fields["unread"] = proposal["dropped_reference_chars"]
        return fields | self._cost_fields(node, proposal["model"], records)

    def _aggregator_row(self, answer: AIMessage, records: Sequence[CallRecord]) -> JsonRow:
        summary = answer.response_metadata["moa"]
        if "vote" in summary and "selected" in summary:  # no call
            nothing = {"usage": {**ZERO_USAGE}, "seconds": 0.0, "cost": 0.0}
            return {"model": summary["aggregator"], "unread": 0} | nothing
        row = {"model": summary["aggregator"], "unread": summary["dropped_reference_chars"]}
        row["finish_reason"] = read_finish_reason(answer)
        return row | self._cost_fields(AGGREGATOR, summary["aggregator"], records)

    def _failed_writer_rows(
        self, answer: AIMessage | None, records: Sequence[CallRecord]
    ) -> list[JsonRow]:
        """Return the rows of failed aggregators."""
        label = answer.response_metadata["moa"]["aggregator"] if answer else None
        return [
            {"model": each.label, "error": each.error} | self._sum_calls(each.label, [each])
            for each in records
            if each.node == AGGREGATOR and each.error and each.label != label
        ]

    def _decision_rows(
        self, decisions: Mapping[str, DepthDecision], records: Sequence[CallRecord]
    ) -> list[JsonRow]:
        """Return the rows of decision models."""
        rows = list[JsonRow]()
        for node, each in decisions.items():
            if "model" not in each:
                continue
            calls = [r for r in records if (r.node, r.label) == (node, each["model"])]
            calls = calls or [_report_decision(node, each)]
            row: JsonRow = {"node": node, "model": each["model"], "error": None}
            rows.append(row | self._sum_calls(each["model"], calls))
        return rows

    def _cost_fields(self, node: str, label: str, records: Sequence[CallRecord]) -> JsonRow:
        """Return the tokens and times of the original calls, which may be old."""
        own_records = [each for each in records if each.node == node and each.label == label]
        return self._sum_calls(label, own_records) if own_records else {"cost": None}

    def _sum_calls(self, label: str, records: Sequence[CallRecord]) -> JsonRow:
        """Sum the calls of an agent: the last one, and earlier failed ones."""
        billed = [each for each in records if each.is_billed]
        costs = [estimate_cost(label, each.usage, self._prices) for each in billed]
        known_costs = [cost for cost in costs if cost is not None]
        row: JsonRow = {
            "usage": sum_usages(filter(None, map(_clean_record_usage, billed))),
            "seconds": records[-1].seconds,
            "cost": sum(known_costs) if known_costs and len(known_costs) == len(costs) else None,
        }
        return row | ({"may_be_billed": True} if any(e.may_be_billed for e in billed) else {})


def _clean_record_usage(record: CallRecord) -> dict[str, Any] | None:
    return clean_usage(record.usage)


def _report_decision(node: str, decision: DepthDecision) -> CallRecord:
    """Report a decision, which does not use the call store, to the listeners."""
    record = CallRecord(
        label=decision["model"],
        sample=1,
        node=node,
        message=None,
        error=None,
        usage=decision.get("usage"),
        started=time(),
        seconds=0.0,
        from_store=False,
    )
    report_call(record)
    return record
