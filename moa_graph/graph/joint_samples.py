"""Several samples of an agent from one request, with the parameter `n` of OpenAI's API.

Each sample stays a separate node. The samples of one superstep share a `SampleGroup` in this
process, as proposers share a deadline in `graph/deadlines.py`. The first node that is ready sends a
request for all ready nodes, and each node takes one of the choices.
"""

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_core.messages import AnyMessage
from langchain_core.runnables import RunnableConfig

from moa_graph.graph.deadlines import DeadlineExceededError, superstep_key
from moa_graph.graph.sample_requests import ask_for_samples
from moa_graph.graph.spec import AgentNode
from moa_graph.graph.state import LayerState
from moa_graph.models.agent import MAX_SAMPLES
from moa_graph.models.traits import ModelTraits
from moa_graph.sync_async import Flow, Step, run_async, run_sync

COLLECTION_TIMEOUT_S = 0.5
"""Seconds that a request waits for samples that may not run: a resumed run may have stored them.
Others may only be waiting for a free thread."""

_MAX_GROUPS = 4096  # entries of killed and partly resumed layers stay until newer ones evict them
_groups: "OrderedDict[tuple[Any, ...], SampleGroup]" = OrderedDict()
_groups_lock = threading.Lock()

JoinSamples = Callable[[Any, LayerState, RunnableConfig], AbstractContextManager[Any]]
"""Context manager that returns the model for a node, from its model, state and config."""


@dataclass(eq=False)
class JointRequest:
    """A request, and the nodes whose samples it returns."""

    messages: Sequence[AnyMessage]
    waiting: list[str] = field(default_factory=list)
    """The waiting nodes, without those that were cut off."""
    closed: "Future[None]" = field(default_factory=Future)
    """Done when no further node can join."""
    outcome: "Future[Mapping[str, Any]]" = field(default_factory=Future)
    """Answers by node. A node without one sends another request."""
    task: "asyncio.Task[None] | None" = None
    is_overdue: bool = False
    """Whether it waits only for nodes that have started."""


class SampleGroup:
    """The samples of one agent in one superstep."""

    def __init__(self, nodes: Collection[str], traits: ModelTraits) -> None:
        self._traits, self._limit = traits, MAX_SAMPLES
        self._unseen, self._present = set(nodes), set[str]()
        self._preparing = set[str]()
        self._open: JointRequest | None = None
        self._lock = threading.Lock()

    def enter(self, node: str) -> None:
        """Add a node that starts."""
        with self._lock:
            self._unseen.discard(node)
            self._present.add(node)
            self._preparing.add(node)

    def leave(self, node: str, *, stopped: bool) -> bool:
        """Remove a node that ends, and return whether it was the last.

        Args:
            node: Name of the node.
            stopped: Whether its run was stopped; the node returns when the run is resumed.
        """
        with self._lock:
            self._present.discard(node)
            self._preparing.discard(node)
            if stopped:
                self._unseen.add(node)
            if self._open:
                self._remove_waiting(node, self._open)
            self._close_if_complete()
            return not self._unseen and not self._present

    def join(self, node: str, messages: Sequence[AnyMessage]) -> tuple[JointRequest, bool]:
        """Return the request for the answer of a node, and whether the node must send it.

        Raises:
            DeadlineExceededError: If the node was cut off, and only its thread still runs.
        """
        with self._lock:
            if node not in self._present:
                raise DeadlineExceededError(f"{node} was cut off")
            self._preparing.discard(node)
            request = self._open
            is_first = request is None or request.messages != messages
            if request is None:
                request = self._open = JointRequest(messages)
            elif is_first:  # its prompt differs from that of the others
                request = JointRequest(messages)
                request.closed.set_result(None)
            request.waiting.append(node)
            self._close_if_complete()
            return request, is_first

    def abandon(self, node: str, request: JointRequest) -> None:
        """Remove a node that was cut off from a request; the last one cancels the request."""
        with self._lock:
            self._remove_waiting(node, request)
            if not request.waiting and request.task:
                request.task.cancel()

    def stop_waiting(self, request: JointRequest) -> None:
        """Stop waiting for nodes that have not started."""
        with self._lock:
            request.is_overdue = True
            self._close_if_complete()

    def limit_choices(self, most: int) -> None:
        """Limit the number of samples in a request."""
        with self._lock:
            self._limit = min(self._limit, most)

    def prepare_again(self, nodes: Sequence[str]) -> None:
        """Wait for nodes without an answer, which will send another request."""
        with self._lock:
            self._preparing |= self._present.intersection(nodes)

    def _remove_waiting(self, node: str, request: JointRequest) -> None:
        if node in request.waiting:
            request.waiting.remove(node)
        if not request.waiting and request is self._open:
            self._close()

    def _close_if_complete(self) -> None:
        if self._open is None:
            return
        limit = min(self._limit, self._traits.max_choices or self._limit)
        is_expected = self._preparing or (self._unseen and not self._open.is_overdue)
        if len(self._open.waiting) >= limit or not is_expected:
            self._close()

    def _close(self) -> None:
        if self._open:
            self._open.closed.set_result(None)
        self._open = None


class JointSampler:
    """Replaces the model of a sample's node."""

    def __init__(self, agent_node: AgentNode, group: SampleGroup) -> None:
        self._agent_node, self._node, self._group = agent_node, agent_node.node, group

    def invoke(self, messages: Sequence[AnyMessage], config: RunnableConfig) -> Any:
        """Return the node's answer."""
        while True:
            request, is_first = self._group.join(self._node, messages)
            if is_first:
                run_sync(self._make_request(request, config))
            answers = request.outcome.result()
            if self._node in answers:
                return answers[self._node]

    async def ainvoke(self, messages: Sequence[AnyMessage], config: RunnableConfig) -> Any:
        """Return the node's answer. A request that nobody waits for any more is cancelled."""
        while True:
            request, is_first = self._group.join(self._node, messages)
            if is_first:
                request.task = asyncio.create_task(run_async(self._make_request(request, config)))
            try:
                answers = await _await_future(request.outcome)
            except asyncio.CancelledError:
                self._group.abandon(self._node, request)
                raise
            if self._node in answers:
                return answers[self._node]

    def _make_request(self, request: JointRequest, config: RunnableConfig) -> Flow[None]:
        """Wait for the other samples, send a request for all, and distribute the answers."""
        nodes: Sequence[str] = ()
        try:
            yield from self._collect(request)
            nodes = list(request.waiting)
            answers = yield from ask_for_samples(
                self._agent_node, len(nodes), request.messages, config, self._group.limit_choices
            )
            self._group.prepare_again(nodes[len(answers) :])
            request.outcome.set_result(dict(zip(nodes, answers, strict=False)))
        except asyncio.CancelledError:
            request.outcome.cancel()
            raise
        except BaseException as error:  # noqa: BLE001  # raised in each node that waits
            self._group.prepare_again(nodes)  # they retry with another prompt or end
            request.outcome.set_exception(error)

    def _collect(self, request: JointRequest) -> Flow[None]:
        try:
            yield _wait_step(request.closed, COLLECTION_TIMEOUT_S)
        except TimeoutError:
            self._group.stop_waiting(request)
            yield _wait_step(request.closed, None)


def group_samples(
    agent_node: AgentNode,
    agent_nodes: Sequence[AgentNode],
    find_asked: Callable[[LayerState], Sequence[str]],
) -> JoinSamples:
    """Return a context manager that makes a node request its sample together with the others.

    Args:
        agent_node: The agent of the node.
        agent_nodes: The proposers of its layer.
        find_asked: Returns the nodes of the layer that a run calls, from its state.
    """
    samples = [each.node for each in agent_nodes if each.agent is agent_node.agent]
    # A streamed sample needs its own request: chunks of several choices would be mixed.
    if len(samples) == 1 or not agent_node.agent.joint_samples or not agent_node.hide_tokens:
        return lambda model, *_: nullcontext(model)
    return _GroupEntry(agent_node, samples, find_asked).join


@dataclass(frozen=True)
class _GroupEntry:
    """Adds the node of a sample to its group."""

    agent_node: AgentNode
    samples: Sequence[str]
    find_asked: Callable[[LayerState], Sequence[str]]

    @contextmanager
    def join(self, model: Any, state: LayerState, config: RunnableConfig) -> Iterator[Any]:
        nodes = set(self.samples).intersection(self.find_asked(state))
        if len(nodes) == 1 or config.get("max_concurrency") == 1:
            yield model
            return
        node, key = self.agent_node.node, (self.agent_node.layer, *self.samples, *superstep_key())
        with _groups_lock:
            group = _groups.setdefault(key, SampleGroup(nodes, self.agent_node.traits))
            group.enter(node)
            while len(_groups) > _MAX_GROUPS:
                _groups.popitem(last=False)
        stopped = True
        try:
            yield JointSampler(self.agent_node, group)
            stopped = False
        finally:
            if group.leave(node, stopped=stopped):
                with _groups_lock:
                    _groups.pop(key, None)


def _wait_step(future: "Future[None]", timeout: float | None) -> Step:
    async def wait() -> None:
        async with asyncio.timeout(timeout):
            await _await_future(future)

    return Step(partial(future.result, timeout), wait)


async def _await_future(future: "Future[Any]") -> Any:
    """Await a shared future: a cancelled waiter does not cancel it."""
    wrapped = asyncio.wrap_future(future)
    wrapped.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # not logged
    return await asyncio.shield(wrapped)
