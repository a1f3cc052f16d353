"""Sources of proposals: new calls, a group of calls, or an earlier call of the turn."""

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.cache.base import BaseCache

from moa_graph.chat_model.call_group import CallGroup
from moa_graph.chat_model.local_proposals import ProposalEntry, ProposalSet
from moa_graph.chat_model.proposal_store import ProposalStore
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.graph.depth import is_effective
from moa_graph.graph.depth_decision import DepthDecision
from moa_graph.graph.graph_spec import GraphSpec
from moa_graph.graph.node_names import AGGREGATOR, layer_aggregator_name, parse_helper_role
from moa_graph.graph.options import Consult
from moa_graph.graph.state import Proposal, merge_proposals
from moa_graph.sync_async import Flow


def check_consult(consult: Any) -> None:
    """Check the option `consult`.

    Raises:
        ValueError: If the value is invalid.
    """
    is_number = isinstance(consult, int) and not isinstance(consult, bool) and consult > 0
    if not is_number and consult not in {"user_turn", "every_call"}:
        raise ValueError(
            f"`consult`={consult!r}: expected 'user_turn', 'every_call', or a number of tool "
            "steps after which the proposers are called again, such as 5"
        )


def check_proposal_cache(cache: Any) -> None:
    """Check the option `proposal_cache`.

    Raises:
        ValueError: If it is not a LangGraph cache.
    """
    if cache is not None and not isinstance(cache, BaseCache):
        raise ValueError(
            f"`proposal_cache`={cache!r}: expected a LangGraph cache, such as "
            "langgraph.cache.sqlite.SqliteCache(path='proposals.sqlite')"
        )


class ProposalSource:
    """Source of the proposals of a call. This base class always calls the proposers."""

    proposal_set: ProposalSet | None = None
    """The proposals; `None` until they are complete."""
    is_reused: bool = False
    """Whether the proposals are those of an earlier call."""

    def find(self) -> Flow[None]:
        """Look for proposals of an earlier call."""
        yield from ()

    def observe_event(self, mode: str, payload: Any) -> None:
        """Process a stream event of the graph."""

    def record_answer(self, answer: AIMessage) -> Flow[None]:
        """Process the answer that was written from the proposals."""
        yield from ()

    def record_failure(self, error: Exception) -> Flow[None]:
        """Process an error that left the call without an answer."""
        yield from ()

    def close(self) -> None:
        """End the call."""


class GroupProposalSource(ProposalSource):
    """Source of proposals that the calls of a group share; `None` for a call without a group."""

    def __init__(self, spec: GraphSpec, group: CallGroup | None) -> None:
        self._spec = spec
        self._proposals: dict[str, Proposal] = {}
        self._depth: dict[str, DepthDecision] = {}
        self._steps = 0
        self._is_whole = False
        self._partial: ProposalSet | None = None
        self._group, self._leads = group, False

    def find(self) -> Flow[None]:
        """Wait for the proposals of the group, unless this call is its first."""
        entry: ProposalEntry | None
        if self._group and not self._group.claim():
            entry = yield from self._group.wait()
        else:
            self._leads = self._group is not None
            entry = yield from self._find_stored()
        if entry:
            self.proposal_set, self._steps = entry
            self.is_reused = True
            self._proposals, self._depth = (
                dict(self.proposal_set.proposals),
                dict(self.proposal_set.depth),
            )
            if self._update_completeness():
                self._share_proposals()
            else:
                self._partial = self.proposal_set

    def _find_stored(self) -> Flow[ProposalEntry | None]:
        """Look for proposals of an earlier call."""
        yield from ()
        return None

    def observe_event(self, mode: str, payload: Any) -> None:
        """Collect proposals; when they are complete, share them with the waiting calls."""
        if mode != "updates" or self._is_whole:
            return
        for update in payload.values():
            writes = update if isinstance(update, dict) else {}
            self._proposals = merge_proposals(self._proposals, writes.get("proposals") or {})
            self._depth |= writes.get("depth") or {}
        is_early = any(map(is_effective, self._depth.values()))
        if is_early or _is_over(self._spec.last_node, payload):
            self.proposal_set, self._is_whole = (
                ProposalSet(self._proposals, depth=self._depth),
                True,
            )
            self._share_proposals()
        elif self._partial or _is_over(layer_aggregator_name(len(self._spec.layers)), payload):
            self._partial = ProposalSet(self._proposals, depth=self._depth)

    def _update_completeness(self) -> bool:
        """Set and return whether the aggregator needs no further proposals."""
        is_early = any(map(is_effective, self._depth.values()))
        next_nodes = self._spec.find_next_nodes({"proposals": self._proposals})
        self._is_whole = is_early or next_nodes == [AGGREGATOR]
        return self._is_whole

    @property
    def _proposals_to_keep(self) -> ProposalSet | None:
        """The proposals for a retry; if a later node failed, those of the layers."""
        return self.proposal_set if self._is_whole else self._partial

    def record_failure(self, error: Exception) -> Flow[None]:
        """Raise the error in the calls of the group that wait for the proposals."""
        self._abandon_group(error)
        yield from ()

    def close(self) -> None:
        """End the call."""
        self._abandon_group(RuntimeError("the call that runs the proposers has ended"))

    def _share_proposals(self) -> None:
        if self._group and self._leads and self.proposal_set:
            self._group.share(ProposalEntry(self.proposal_set, self._steps))

    def _abandon_group(self, error: Exception) -> None:
        if self._group and self._leads:
            self._group.fail(error)


def _is_over(node: str, payload: Mapping[str, Any]) -> bool:
    """Return whether a node has run and sends no proposer back to be called again."""
    gathers = parse_helper_role(node) is None
    return node in payload and not (gathers and "references" not in (payload[node] or {}))


class TurnProposalSource(GroupProposalSource):
    """Source of proposals that the calls of a turn share."""

    def __init__(
        self,
        consult: Consult,
        keys: TurnKeys,
        store: ProposalStore,
        spec: GraphSpec,
        group: CallGroup | None = None,
    ) -> None:
        super().__init__(spec, group)
        self._consult, self._keys, self._store = consult, keys, store
        self._in_loop = keys.turn.is_in_tool_loop
        self._holds_turn = self._is_answered = False

    def _find_stored(self) -> Flow[ProposalEntry | None]:
        """Find the proposals of the turn.

        A call that ends with a user message uses proposals without an answer. A call with tool
        results first waits for another call of its turn that runs the proposers.
        """
        if self._in_loop:
            yield from self._store.local.turn_locks.acquire(self._keys.conversation)
            self._holds_turn = True
            entry = yield from self._store.find(self._keys.in_tool_loop)
        else:
            entry = yield from self._store.take(self._keys.unanswered)
        if entry and (isinstance(self._consult, str) or entry.steps < self._consult):
            self._release_turn()
            return entry
        return None

    def _share_proposals(self) -> None:
        super()._share_proposals()
        if self.proposal_set and self._holds_turn:
            self._store.local.store([self._keys.conversation], ProposalEntry(self.proposal_set, 0))
            self._release_turn()

    def record_answer(self, answer: AIMessage) -> Flow[None]:
        """Link the ids of the answer's tool calls to the proposals, for the next calls."""
        self._is_answered = True
        calls = [*answer.tool_calls, *answer.invalid_tool_calls]
        if self.proposal_set and calls:
            ids = [each["id"] for each in calls if each["id"]]
            entry = ProposalEntry(self.proposal_set, self._steps + 1)
            yield from self._store.link_calls(self._keys, ids, entry, is_new=self._is_new)

    def record_failure(self, error: Exception) -> Flow[None]:
        """Store the proposals for a retry in another process."""
        yield from super().record_failure(error)
        if (proposal_set := self._proposals_to_keep) and not self._is_answered:
            entry = ProposalEntry(proposal_set, self._steps)
            yield from self._store.store(self._retry_key, entry, is_new=self._is_new)

    def close(self) -> None:
        """End the call; without an answer, store the proposals for a retry."""
        super().close()
        self._release_turn()
        if (proposal_set := self._proposals_to_keep) and not self._is_answered:
            self._store.local.store([self._retry_key], ProposalEntry(proposal_set, self._steps))

    @property
    def _retry_key(self) -> str:
        return self._keys.conversation if self._in_loop else self._keys.unanswered

    @property
    def _is_new(self) -> bool:
        """Whether the shared cache may lack the proposals."""
        return not (self.is_reused and self._in_loop) or self._partial is not None

    def _release_turn(self) -> None:
        if self._holds_turn:
            self._store.local.turn_locks.release(self._keys.conversation)
            self._holds_turn = False
