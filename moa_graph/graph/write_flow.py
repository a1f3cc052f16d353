"""Call the aggregator and then its fallbacks until one writes the answer."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.types import CachePolicy

from moa_graph.graph.answer_attempt import AnswerAttempt
from moa_graph.graph.answer_cache import AnswerCache, CacheBackend
from moa_graph.graph.call_errors import capture_errors
from moa_graph.graph.deadlines import LayerDeadline
from moa_graph.graph.node_runnable import NodeRunnable
from moa_graph.graph.policy import LayerPolicy
from moa_graph.graph.selection import NumberRequest
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState
from moa_graph.graph.writer import Writer
from moa_graph.prompting.layout import PromptLayout
from moa_graph.sync_async import Flow

WriteFlow = Callable[[LayerState, RunnableConfig, CacheBackend | None], Flow[dict[str, Any]]]
"""The function of a node that writes an answer."""

MakeAttempt = Callable[[LayerState], AnswerAttempt]
"""Creates the attempt at an answer from a state."""


def writer_node(
    aggregators: Sequence[AgentNode],
    make_attempt: MakeAttempt,
    layout: PromptLayout,
    cache_policy: CachePolicy[Any] | None,
) -> NodeRunnable:
    """Create a node that returns the answer of the first writer that succeeds.

    Args:
        aggregators: The aggregator and its fallbacks.
        make_attempt: Creates the attempt that calls them and checks the answer.
        layout: Layout of the prompt of a writer.
        cache_policy: Policy of the node cache; `None` for no cache.
    """
    flow = make_write_flow(aggregators, make_attempt, layout, cache_policy)
    return NodeRunnable(flow, aggregators[0])


def make_write_flow(
    aggregators: Sequence[AgentNode],
    make_attempt: MakeAttempt,
    layout: PromptLayout,
    cache_policy: CachePolicy[Any] | None,
) -> WriteFlow:
    """Return the function of the node; arguments as in `writer_node`."""
    deadline = LayerDeadline(LayerPolicy(quorum=1), unfinished=1, required_answers=1)
    writers = [
        Writer(each, AnswerCache(each, (), layout, cache_policy), NumberRequest(each), deadline)
        for each in aggregators
    ]

    def aggregate(
        state: LayerState, config: RunnableConfig, node_cache: CacheBackend | None
    ) -> Flow[dict[str, Any]]:
        attempt = make_attempt(state)
        if not attempt.has_work(aggregators[0]):
            return attempt.skipped_update()
        attempt.first_writer = aggregators[0].node
        attempt.take_earlier_calls(config)
        start = partial(attempt.start_request, state=state, layout=layout, cache=node_cache)
        waiting = list(writers)
        while waiting:
            hedge = start(waiting[0]).hedged(waiting[1:], start)
            yield from hedge.run(config)
            del waiting[: len({each.node for each in hedge.requests})]
            attempt.failures.record_hedge(hedge, config)
            with capture_errors(partial(attempt.failures.record, hedge.winner, config)):
                if error := hedge.winner.error:
                    raise error
                update = attempt.to_update(hedge.winner)
                yield from hedge.winner.store()
                return update
        raise attempt.failures.build_error([each.node for each in aggregators])

    return aggregate
