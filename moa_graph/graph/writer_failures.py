"""Failed calls of an aggregator and its fallbacks, and the error if all of them failed."""

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig

from moa_graph.errors import MoAError
from moa_graph.graph.deadlines import DeadlineExceededError
from moa_graph.graph.error_causes import error_with_causes, reduce_error
from moa_graph.graph.failed_calls import (
    EARLIER_CALLS_KEY,
    FailedCall,
    classify_failure,
    describe_failure,
    may_be_billed,
    note_writer_error,
)
from moa_graph.graph.hedging import Hedge
from moa_graph.graph.prompts import original_failure
from moa_graph.graph.writer import WriterRequest
from moa_graph.models.partial_answers import PartialAnswer, find_partial_answer
from moa_graph.prompting import parsing
from moa_graph.prompting.thoughts import strip_thoughts
from moa_graph.prompting.tokens import truncate_answer
from moa_graph.prompting.usage import clean_usage
from moa_graph.redaction import find_keys, without_keys


class AggregatorError(MoAError):
    """The aggregator and all fallbacks failed.

    If all failures share an exception type, such as LangChain's `ContextOverflowError`, the error
    has it too. Its `__cause__` is the failure of the aggregator.

    `invoke(None, config)` on the same thread calls the aggregators again, but no proposer.
    """

    failures: dict[str, str]
    """Causes of the failures of the `aggregator` and its fallbacks, by node."""
    failed_calls: Sequence[FailedCall] = ()
    """The failed calls, including those before a run of `moa` was resumed."""

    def __init__(self, failures: Mapping[str, str]) -> None:
        self.failures = dict(failures)
        causes = "; ".join(f"{name}: {cause}" for name, cause in self.failures.items())
        Exception.__init__(self, f"no final answer: {causes}")  # not that of a mixed-in type

    def __repr__(self) -> str:
        """Include the failed calls: LangGraph stores an error only as this text."""
        brief = [
            {k: v for k, v in each.items() if k != "partial_content"} for each in self.failed_calls
        ]
        return f"{type(self).__name__}({', '.join(map(repr, [str(self), *filter(None, [brief])]))})"

    def __reduce__(self) -> tuple[Any, ...]:
        return reduce_error(self, AggregatorError, self.failures)


class WriterFailures:
    """Calls of an aggregator and its fallbacks whose answers are not used."""

    def __init__(self) -> None:
        self.errors: dict[str, str] = {}
        """Errors of writers, by node."""
        self.calls: list[FailedCall] = []
        """The failed calls, including those before a run was resumed."""
        self.hedged: list[str] = []
        """Nodes whose request was sent a second time."""
        self._causes: dict[str, Exception] = {}

    def take_earlier_calls(self, config: RunnableConfig) -> None:
        """Record the calls that failed before a run was resumed."""
        self.calls += (config.get("configurable") or {}).get(EARLIER_CALLS_KEY, ())

    def record_hedge(self, hedge: Hedge[WriterRequest], config: RunnableConfig) -> None:
        """Record the other request of a hedge, if there is one."""
        for other in hedge.others:
            self.hedged.append(hedge.requests[0].node)
            if other.writer is hedge.winner.writer:
                hedge.winner.overtaken = other
            else:
                error = _failure_of(other)
                if error is None:
                    error = DeadlineExceededError(f"cut off: {hedge.winner.node} answered first")
                    error.__cause__ = other.error
                self.record(other, config, error)

    def record(self, request: WriterRequest, config: RunnableConfig, error: Exception) -> None:
        """Record why a writer gave no answer."""
        node = request.node
        keys = [*request.agent_node.api_keys, *find_keys(config.get("configurable", {}))]
        self.errors[node] = describe_failure(error, *keys)
        self._causes[node] = without_keys(original_failure(error), *keys)
        note_writer_error(node, self._causes[node])
        self.calls.append(self._read_call(request, error))

    def build_error(self, nodes: Sequence[str]) -> AggregatorError:
        """Create the error for all failed writers, in the order of their nodes."""
        causes = [self._causes[node] for node in nodes]
        errors = {node: self.errors[node] for node in nodes}
        error = error_with_causes(causes, AggregatorError, errors)
        error.failed_calls = sorted(self.calls, key=lambda each: nodes.index(each["node"]))
        return error

    def _read_call(self, request: WriterRequest, error: Exception) -> FailedCall:
        partial = find_partial_answer(error) or _partial_of_output(request.output)
        usage = request.with_overtaken_usage(clean_usage(partial.usage))
        return FailedCall(
            node=request.node,
            model=request.agent_node.agent.label,
            error=self.errors[request.node],
            partial_content=truncate_answer(strip_thoughts(partial.text))[0],
            finish_reason=partial.finish_reason,
            usage=usage,
            may_be_billed=(usage is None and may_be_billed(error)) or request.is_overtaken_billed,
            started=request.started,
            seconds=request.seconds,
            error_type=classify_failure(self._causes[request.node]),
        )


def _failure_of(request: WriterRequest) -> Exception | None:
    """Return why a request has no answer; `None` if it was cut off, or has one."""
    if request.error is None and request.is_done:
        try:
            request.check_output(request.output)
        except Exception as error:  # noqa: BLE001  # whatever it is
            return error
    return request.error if isinstance(request.error, Exception) else None


def _partial_of_output(output: Any) -> PartialAnswer:
    """Return the partial text of a rejected output."""
    try:
        message = parsing.to_message(output)
    except TypeError:
        return PartialAnswer("", None)
    reason = parsing.read_finish_reason(message)
    return PartialAnswer(message.text, parsing.sum_usage(output), reason)
