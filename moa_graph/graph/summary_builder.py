"""Build the summary of a run, the `response_metadata["moa"]` of its answer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from moa_graph.graph.agreement import measure_agreement
from moa_graph.graph.depth import describe_depth, list_decisions
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.run_summary import RunSummary
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.state import LayerState, OriginalCallStats, Proposal
from moa_graph.graph.writer_failures import WriterFailures
from moa_graph.prompting.usage import sum_usages


class RunSummaryBuilder:
    """Builds the run summary of an answer."""

    def __init__(
        self,
        layer_specs: Sequence[LayerSpec],
        state: LayerState,
        *,
        helper_nodes: Sequence[str] = (),
        planned_layers: Sequence[LayerSpec] = (),
        describe: Callable[[LayerState], Mapping[str, Any]] = lambda _: {},
    ) -> None:
        """Read the results of the proposers.

        Args:
            layer_specs: The layers that ran.
            state: State with the proposals.
            helper_nodes: Nodes that have called a model since.
            planned_layers: All layers of the mixture, if fewer ran.
            describe: Returns further entries of the summary.
        """
        self._describe = describe
        nodes = [
            agent_node.node for layer_spec in layer_specs for agent_node in layer_spec.agent_nodes
        ]
        stored = state["proposals"]
        self._helpers = {node: p for node in helper_nodes if (p := stored.get(node))}
        self._layers, self._proposers, self.state = len(layer_specs), nodes, state
        self._last_agents = layer_specs[-1].agent_nodes if layer_specs else ()
        self.proposals = {node: p for node in nodes if (p := stored.get(node))}
        self.failures = WriterFailures()
        self._depth = describe_depth(state, planned_layers) if planned_layers else None
        self._decisions = [each for _, each in list_decisions(state, planned_layers)]

    def summarize(
        self,
        model: str,
        usage: dict[str, Any] | None,
        *,
        started: float,
        seconds: float,
        dropped_reference_chars: int = 0,
    ) -> RunSummary:
        """Return the summary of a run.

        Args:
            model: Model of the answer.
            usage: Tokens of the answer.
            started: Start of the call, in seconds since 1970.
            seconds: Wall time of the call.
            dropped_reference_chars: Characters of references that were left out of its prompt.
        """
        failed = {node: error for node, p in self.proposals.items() if (error := p["error"])}
        calls = {node: p["usage"] for node, p in self.proposals.items() if node not in failed}
        helper_usages = {node: p["usage"] for node, p in self._helpers.items() if not p["error"]}
        helper_errors = {node: error for node, p in self._helpers.items() if (error := p["error"])}
        usages = [each["usage"] for each in (*self._all_calls.values(), *self.failures.calls)]
        usages += [each.get("usage") for each in self._decisions]
        summary: RunSummary = {
            "layers": self._layers,
            "proposers": self._proposers,
            "asked": len(self._proposers),
            "answered": len(calls),
            "failed": list(failed),
            "errors": failed | helper_errors | self.failures.errors,
            "aggregator": model,
            "aggregator_usage": usage,
            "started": started,
            "seconds": seconds,
            "dropped_reference_chars": dropped_reference_chars,
            "usage": sum_usages(filter(None, [*usages, usage])),
            "usage_unknown": self._find_unknown({**calls, **helper_usages, AGGREGATOR: usage}),
            "degraded": bool(helper_errors or failed),
            "served_models": self._find_served_models(),
        }
        if dropped := [node for node in self._proposers if node not in self.proposals]:
            summary["dropped"] = dropped
        if agreement := measure_agreement(self._last_texts):
            summary["agreement"] = agreement
        if self._depth:
            summary["depth"] = self._depth
        if model_decisions := [each for each in self._decisions if "model" in each]:
            summary["decisions"] = model_decisions
        if self.failures.calls:
            summary["failed_calls"] = self.failures.calls
        if (
            hedged := [n for n, p in self._all_calls.items() if p.get("hedged")]
            + self.failures.hedged
        ):
            summary["hedged"] = hedged
        if cached_stats := self._find_cached(None):
            _record_cached(summary, cached_stats)
        return cast("RunSummary", {**summary, **self._describe(self.state)})

    def record_cached(self, summary: RunSummary, own: OriginalCallStats) -> None:
        """Record in a summary that the answer comes from a cache."""
        _record_cached(summary, self._find_cached(own))

    @property
    def _last_texts(self) -> dict[str, str]:
        """Answers of the last layer, by node."""
        return {
            each.node: proposal["content"]
            for each in self._last_agents
            if (proposal := self.proposals.get(each.node)) and not proposal["error"]
        }

    def _find_served_models(self) -> dict[str, str]:
        """Return the models that answered, by node, if the providers report them."""
        return {
            node: name for node, p in self._all_calls.items() if (name := p.get("served_model"))
        }

    @property
    def _all_calls(self) -> dict[str, Proposal]:
        """Results of the proposers and of the helper nodes."""
        return {**self.proposals, **self._helpers}

    def _find_cached(self, own: OriginalCallStats | None) -> dict[str, OriginalCallStats]:
        """Return the original tokens and seconds of cached answers, by node."""
        stats = {node: c for node, p in self._all_calls.items() if (c := p.get("cached"))}
        return stats | ({AGGREGATOR: own} if own else {})

    def _find_unknown(self, usages: Mapping[str, Any]) -> list[str]:
        """Return the nodes with unknown tokens that may be billed."""
        unknown = [node for node, usage in usages.items() if not usage]
        unknown += [node for node, p in self._all_calls.items() if p.get("may_be_billed")]
        unknown += [each["node"] for each in self.failures.calls if each["may_be_billed"]]
        unknown += [
            each["node"] for each in self._decisions if "model" in each and not each["usage"]
        ]
        return list(dict.fromkeys(unknown))


def _record_cached(summary: RunSummary, cached_stats: Mapping[str, OriginalCallStats]) -> None:
    summary["cached"] = list(cached_stats)
    saved = [cached["usage"] for cached in cached_stats.values()]
    summary["saved_usage"] = sum_usages(filter(None, saved))
    summary["aggregator_cached"] = cached_stats.get(AGGREGATOR)
