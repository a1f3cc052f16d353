"""Quality signals of a run: agreement, degradation, served models."""

from collections.abc import Mapping, Sequence
from typing import NotRequired

from langchain_core.messages import AIMessage
from typing_extensions import TypedDict  # pydantic needs it on Python 3.11

from moa_graph.graph.agreement import LayerAgreement, measure_agreement
from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.spec import LayerSpec
from moa_graph.graph.state import Proposal
from moa_graph.prompting.parsing import read_served_model


class RunQuality(TypedDict):
    """Quality signals of an answer.

    Attributes:
        degraded: Whether a called proposer gave no answer, or a fallback replaced the aggregator.
        served_models: Models that answered, by node, as the providers report them (`model_name`).
        agreement: Agreement of the proposals that the aggregator read; absent if there are fewer
            than two.
    """

    degraded: bool
    served_models: dict[str, str]
    agreement: NotRequired[LayerAgreement]


def describe_quality(
    layer_specs: Sequence[LayerSpec],
    proposals: Mapping[str, Proposal],
    answer: AIMessage,
    *,
    is_from_fallback: bool = False,
) -> RunQuality:
    """Return the quality signals of an answer.

    Args:
        layer_specs: The layers that ran.
        proposals: Their proposals, keyed by node.
        answer: The answer of the aggregator's model.
        is_from_fallback: Whether a fallback replaced the aggregator.
    """
    answered = {node: p for node, p in proposals.items() if not p["error"]}
    served = {node: name for node, p in proposals.items() if (name := p.get("served_model"))}
    if name := read_served_model(answer):
        served[AGGREGATOR] = name
    is_degraded = len(answered) < len(proposals) or is_from_fallback
    quality = RunQuality(degraded=is_degraded, served_models=served)
    last_nodes = [each.node for each in layer_specs[-1].agent_nodes] if layer_specs else []
    texts = {node: answered[node]["content"] for node in last_nodes if node in answered}
    if agreement := measure_agreement(texts):
        quality["agreement"] = agreement
    return quality
