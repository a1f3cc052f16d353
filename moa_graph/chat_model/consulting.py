"""When the proposers of a chat model are asked, and when their proposals are reused."""

from typing import Any

from langchain_core.messages import AIMessage
from langgraph.cache.base import BaseCache

from moa_graph.chat_model.kept_panels import FoundPanel, Panel
from moa_graph.chat_model.panel_store import PanelStore
from moa_graph.chat_model.turn_keys import TurnKeys
from moa_graph.graph.node_names import layer_aggregator_name
from moa_graph.graph.options import Consult
from moa_graph.graph.state import Proposal, merge_proposals
from moa_graph.sync_async import Flow


def check_consult(consult: Any) -> None:
    """Check the option `consult`.

    Raises:
        ValueError: If it is none of its values.
    """
    is_number = isinstance(consult, int) and not isinstance(consult, bool) and consult > 0
    if not is_number and consult not in {"user_turn", "every_call"}:
        raise ValueError(
            f"`consult`={consult!r}: expected 'user_turn', 'every_call', or a number of tool "
            "steps after which the proposers are asked again, such as 5"
        )


def check_proposal_cache(cache: Any) -> None:
    """Check the option `proposal_cache`.

    Raises:
        ValueError: If it is no cache of LangGraph's.
    """
    if cache is not None and not isinstance(cache, BaseCache):
        raise ValueError(
            f"`proposal_cache`={cache!r}: expected a cache of LangGraph's, such as "
            "langgraph.cache.sqlite.SqliteCache(path='proposals.sqlite')"
        )


class Consultation:
    """How a call comes by its proposals: here, the proposers are asked."""

    panel: Panel | None = None
    """The proposals; `None` until they are there."""
    is_reused: bool = False
    """Whether they are those of an earlier call."""

    def find(self) -> Flow[None]:
        """Look for proposals of an earlier call."""
        yield from ()

    def observe_event(self, mode: str, payload: Any) -> None:
        """Take in an event of the graph."""

    def record_answer(self, answer: AIMessage) -> Flow[None]:  # noqa: ARG002  # as where calls share
        """Take in the answer that was written from the proposals."""
        yield from ()

    def record_failure(self) -> Flow[None]:
        """Take in that none was."""
        yield from ()

    def close(self) -> None:
        """End the call."""


class TurnConsultation(Consultation):
    """How a call comes by its proposals where the calls of a turn share them."""

    def __init__(
        self, consult: Consult, keys: TurnKeys, store: PanelStore, layer_count: int
    ) -> None:
        self._consult, self._keys, self._store = consult, keys, store
        self._in_loop = keys.turn.is_in_tool_loop
        self._last_layer_aggregator = layer_aggregator_name(layer_count)
        self._proposals: dict[str, Proposal] = {}
        self._holds_turn = self._is_answered = False
        self._steps = 0

    def find(self) -> Flow[None]:
        """Look for the proposals of the turn.

        A call that ends with the user finds those of which no answer was written. One with results
        of tools first waits while another call of its turn has the proposers asked.
        """
        if self._in_loop:
            yield from self._store.kept.asking.acquire(self._keys.conversation)
            self._holds_turn = True
            found = yield from self._store.find(self._keys.in_tool_loop)
        else:
            found = yield from self._store.take(self._keys.unanswered)
        if found and (isinstance(self._consult, str) or found.steps < self._consult):
            self.panel, self._steps = found
            self.is_reused = True
            self._release_turn()

    def observe_event(self, mode: str, payload: Any) -> None:
        """Take in what proposers wrote; when all have, calls that wait for it go on."""
        if mode != "updates" or self.is_reused:
            return
        for update in payload.values():
            written = update.get("proposals") if isinstance(update, dict) else None
            self._proposals = merge_proposals(self._proposals, written or {})
        if "references" in (payload.get(self._last_layer_aggregator) or {}):
            self.panel = Panel(self._proposals)
            if self._in_loop:
                self._store.kept.keep([self._keys.conversation], FoundPanel(self.panel, 0))
                self._release_turn()

    def record_answer(self, answer: AIMessage) -> Flow[None]:
        """Have those calls find the proposals that have results of the answer's tool calls."""
        self._is_answered = True
        calls = [*answer.tool_calls, *answer.invalid_tool_calls]
        if self.panel and calls:
            ids = [each["id"] for each in calls if each["id"]]
            found = FoundPanel(self.panel, self._steps + 1)
            yield from self._store.link_calls(self._keys, ids, found, is_new=self._is_new)

    def record_failure(self) -> Flow[None]:
        """Have a retry in another process find the proposals."""
        if self.panel and not self._is_answered:
            found = FoundPanel(self.panel, self._steps)
            yield from self._store.store(self._retry_key, found, is_new=self._is_new)

    def close(self) -> None:
        """End the call; where there is no answer, have a retry find the proposals."""
        self._release_turn()
        if self.panel and not self._is_answered:
            self._store.kept.keep([self._retry_key], FoundPanel(self.panel, self._steps))

    @property
    def _retry_key(self) -> str:
        return self._keys.conversation if self._in_loop else self._keys.unanswered

    @property
    def _is_new(self) -> bool:
        """Whether the shared cache may not have the proposals yet."""
        return not (self.is_reused and self._in_loop)

    def _release_turn(self) -> None:
        if self._holds_turn:
            self._store.kept.asking.release(self._keys.conversation)
            self._holds_turn = False
