"""The calls that a mixture will make for an item of a benchmark."""

from collections.abc import Iterator, Mapping, Sequence
from math import inf
from typing import Any

from moa_graph.config.model import MoAConfig
from moa_graph.config.router_table import RouterTable
from moa_graph.evals.benchmark_shape import BenchmarkShape
from moa_graph.evals.benchmarks.protocol import Benchmark
from moa_graph.evals.estimates import NO_TOKENS, PlannedCall, TokenEstimate
from moa_graph.evals.systems import REPEAT_STRIDE, answer_options, number_samples
from moa_graph.graph.chat_decider import MAX_QUESTION_TOKENS
from moa_graph.models.agent import Agent
from moa_graph.models.pricing import is_free_model
from moa_graph.models.request_key import request_key
from moa_graph.prompting.layout import AGGREGATE_AND_SYNTHESIZE, TOTAL_REFERENCE_FACTOR
from moa_graph.prompting.tokens import count_tokens

SELECTION_TOKENS = 5
"""Tokens of an answer that only selects a proposal."""


class CallPlanner:
    """Lists the calls that a mixture makes for an item."""

    def __init__(
        self, config: MoAConfig, shape: BenchmarkShape, answer_tokens: int, repeat: int = 1
    ) -> None:
        self._sample_offset = (repeat - 1) * REPEAT_STRIDE
        self._config, self._shape = config.with_defaults(), shape
        self._answer_tokens, self._depth = answer_tokens, 0

    def plan_calls(self) -> Iterator[PlannedCall]:
        """Return the calls of all turns, with keys that identify equal calls."""
        history: Any = None
        conversation, self._depth = NO_TOKENS, 0
        final_answer = final_answer_tokens(self._config, self._shape.benchmark, self._answer_tokens)
        for turn in self._shape.turns:
            conversation += turn
            planned = list(self._plan_turn(conversation, [history, "turn"]))
            yield from planned
            history = self._prompt_identity(planned[-1:])
            conversation += final_answer

    def _plan_turn(self, conversation: TokenEstimate, prompt: Any) -> Iterator[PlannedCall]:
        if router := self._config.router:
            yield from self._plan_choice(router, conversation, prompt)
        references: list[TokenEstimate] | None = None
        for layer in self._config.layers:
            read = references and references[: self._config.references_per_reader]
            planned = list(self._plan_layer(layer, conversation, prompt, read))
            yield from planned
            prompt = self._prompt_identity(planned)
            references = [each.output_tokens for each in planned]
        aggregator, aggregation = {"": self._config.aggregator}, self._config.aggregation
        if aggregation == "sequential":
            aggregation, shares = "synthesize", self._share_out(references or [])
            so_far = list[TokenEstimate]()
            for number, share in enumerate(shares[:-1]):
                planned = list(self._plan_layer(aggregator, conversation, prompt, so_far + share))
                yield from planned
                so_far = [planned[0].output_tokens]
                prompt = [self._prompt_identity(planned), prompt, number]
            references = so_far + shares[-1]
        if aggregation == "vote":
            voters = self._config.voters or self._config.layers[-1]
            ballots = list(
                self._plan_layer(voters, conversation, prompt, references, aggregation="vote")
            )
            yield from ballots
            if self._config.finalists == 1:
                return
            prompt = [prompt, self._prompt_identity(ballots), self._config.finalists]
            references, aggregation = (references or [])[: self._config.finalists], "synthesize"
        if analyst := self._config.analysis:
            agent = {"": analyst if isinstance(analyst, Agent) else self._config.aggregator}
            planned = list(
                self._plan_layer(agent, conversation, prompt, references, aggregation="analysis")
            )
            yield from planned
            prompt = [prompt, self._prompt_identity(planned), self._config.analysis_only]
            shown = [] if self._config.analysis_only else list(references or [])
            references = [*shown, planned[0].output_tokens]
        yield from self._plan_layer(
            aggregator, conversation, prompt, references, aggregation=aggregation
        )

    def _plan_choice(
        self, router: RouterTable, conversation: TokenEstimate, prompt: Any
    ) -> Iterator[PlannedCall]:
        """Return the call of the router, assuming that every question goes to the layers."""
        self._depth += 1
        told = count_tokens(" ".join([router.instructions or "", *router.criteria.values()]))
        asked = TokenEstimate(
            min(conversation.expected, MAX_QUESTION_TOKENS) + told,
            min(conversation.upper_bound, MAX_QUESTION_TOKENS) + told,
        )
        target = [router.model.label, answer_options(router.model), router.model.system]
        yield PlannedCall(
            request_key(target, [prompt, "router"], 1 + self._sample_offset),
            router.model.label,
            self._depth,
            asked,
            _agent_output_tokens(router.model, self._answer_tokens, selects=True),
        )

    def _share_out(self, references: Sequence[TokenEstimate]) -> list[list[TokenEstimate]]:
        """Divide references among windows."""
        size = self._config.references_per_window
        return [list(references[n : n + size]) for n in range(0, len(references), size)]

    def _plan_layer(
        self,
        layer: Mapping[str, Agent],
        conversation: TokenEstimate,
        prompt: Any,
        references: Sequence[TokenEstimate] | None,
        *,
        aggregation: str = "synthesize",
    ) -> Iterator[PlannedCall]:
        self._depth += 1
        for _, agent, sample in number_samples(layer):
            called = _agent_for_benchmark(agent, self._shape.benchmark)
            target = [called.label, answer_options(called), called.system]
            yield PlannedCall(
                request_key(target, [prompt, aggregation], sample + self._sample_offset),
                called.label,
                self._depth,
                conversation + _prompt_tokens(self._config, called, references),
                _agent_output_tokens(
                    called, self._answer_tokens, selects=aggregation in {"select", "vote"}
                ),
            )

    def _prompt_identity(self, planned: Sequence[PlannedCall]) -> Any:
        """Return the identity of prompts that contain the answers to these calls."""
        config = self._config
        layout = (
            *(config.references_in, config.max_reference_tokens, config.mark_truncated),
            *(config.references_per_reader, config.order, config.include_reasoning),
        )
        return [[each.key for each in planned], layout]


def _agent_for_benchmark(agent: Agent, benchmark: Benchmark) -> Agent:
    """Return an agent with the options of the benchmark."""
    if is_free_model(agent.label):
        return agent
    return agent.model_copy(update=dict(benchmark.estimated_call_options))


def _agent_output_tokens(
    agent: Agent, answer_tokens: int, *, selects: bool = False
) -> TokenEstimate:
    limit = agent.max_tokens or inf
    return TokenEstimate(min(SELECTION_TOKENS if selects else answer_tokens, limit), limit)


def _prompt_tokens(
    config: MoAConfig, agent: Agent, references: Sequence[TokenEstimate] | None
) -> TokenEstimate:
    """Return the tokens besides the conversation: prompts, and truncated references."""
    own = TokenEstimate(count_tokens(agent.system or ""), len((agent.system or "").encode()))
    if references is None:
        return own
    prompt = config.prompt or AGGREGATE_AND_SYNTHESIZE
    limit = config.max_reference_tokens or inf
    reference_tokens = [
        min(sum(min(size, limit) for size in sizes), TOTAL_REFERENCE_FACTOR * limit)
        for sizes in zip(*references, strict=True)
    ]
    return (
        own
        + TokenEstimate(count_tokens(prompt), len(prompt.encode()))
        + TokenEstimate(*reference_tokens)
    )


def final_answer_tokens(
    config: MoAConfig, benchmark: Benchmark, answer_tokens: int
) -> TokenEstimate:
    """Return the tokens of a system's final answer."""
    complete = config.with_defaults()
    agents = (
        [complete.aggregator] if not config.picks_proposal else list(complete.layers[-1].values())
    )
    lengths = [
        _agent_output_tokens(_agent_for_benchmark(each, benchmark), answer_tokens)
        for each in agents
    ]
    return TokenEstimate(
        max(each.expected for each in lengths), max(each.upper_bound for each in lengths)
    )
