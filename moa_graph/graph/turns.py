"""`read_turn`: the newest turn of a thread, and how to resume or replace it."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile
from typing import Any, Literal

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    MessageLikeRepresentation,
    RemoveMessage,
    convert_to_messages,
)
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.types import StateSnapshot

from moa_graph.stored_names import translate_proposal

Input = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """The newest turn of a thread.

    Attributes:
        status: `none` if the thread has no question, `unanswered` if its newest question has no
            answer, or `answered`.
        messages: Messages of an unanswered turn: its question, and messages that were added while
            it ran. Empty if the question has not joined the conversation yet.
        history: Other messages of the conversation.
        is_runnable: Whether the graph has steps left to run.
    """

    status: Literal["none", "unanswered", "answered"]
    messages: Sequence[BaseMessage]
    history: Sequence[BaseMessage]
    is_runnable: bool

    @property
    def answered(self) -> bool:
        """Whether the turn is answered."""
        return self.status == "answered"

    @property
    def resume_input(self) -> Input | None:
        """Input for `invoke` that continues an unanswered turn.

        `None` runs the remaining steps; a call with a stored answer is not repeated. An
        answered turn has no steps left. An unanswered turn without steps, which `update_state` can
        leave, gets an input without messages, and all agents are called.
        """
        return {"messages": []} if self.status == "unanswered" and not self.is_runnable else None

    def ask(self, question: str | BaseMessage | Sequence[MessageLikeRepresentation]) -> Input:
        """Return the input for `invoke` that asks a question on the thread.

        It replaces an unanswered turn by removing its messages, so no model reads a failed question
        and the roles keep alternating. Earlier messages stay, including those that the input of
        the turn contained before its question.

        Args:
            question: A text, a message, or several messages of which the last is the question.

        Raises:
            ValueError: If there is no message, or the messages of the thread have no ids.
        """
        new = [question] if isinstance(question, (str, BaseMessage)) else question
        if not (new_messages := convert_to_messages(new)):
            raise ValueError(f"`question`={question!r}: expected at least one message")
        if self.status != "unanswered":
            return {"messages": new_messages}
        # A kill can leave messages that `get_state` shows but no checkpoint holds. Removing one by
        # its id would fail, and a stored answer would be lost.
        return {"messages": [*self.replaced_by(self.history), *new_messages]}

    def replaced_by(self, messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
        """Return the update of `messages` that replaces the conversation.

        Raises:
            ValueError: If the messages of the thread have no ids.
        """
        if unnamed := [each for each in (*self.history, *self.messages) if not each.id]:
            raise ValueError(
                f"`messages`: expected messages with ids, as the reducer `add_messages` gives "
                f"them, got {unnamed[0]!r}"
            )
        return [RemoveMessage(REMOVE_ALL_MESSAGES), *messages]


def read_turn(snapshot: StateSnapshot, history: Iterable[StateSnapshot] = ()) -> Turn:
    """Read the newest turn of a thread from its state.

    `snapshot.next` does not show whether a turn is answered: if a process was killed between the
    writes of a node and the next checkpoint, it is empty.

    Args:
        snapshot: Result of `graph.get_state(config)`, for a mixture or a host whose state key
            `messages` has the reducer `add_messages`. The graph needs a checkpointer.
        history: Result of `graph.get_state_history(config)`. With it, several unanswered questions
            in a row, as plain calls of `invoke` leave them, all belong to the turn.

    Raises:
        ValueError: If `snapshot` is something else, such as the result of `invoke`.

    Example:
        ```python
        turn = read_turn(graph.get_state(config))
        if turn.status == "unanswered":
            graph.invoke(turn.resume_input, config)
        else:
            graph.invoke(turn.ask("Why is the sky blue?"), config)
        ```
    """
    if not isinstance(snapshot, StateSnapshot):
        raise ValueError(  # noqa: TRY004  # as for other options
            "`snapshot`: expected the result of graph.get_state(config), got "
            f"{type(snapshot).__name__}"
        )
    messages = convert_to_messages(snapshot.values.get("messages", ()))
    is_runnable = bool(snapshot.next or snapshot.tasks)
    ended_normally = (snapshot.metadata or {}).get("source") == "loop"
    if is_runnable or (unanswered_messages(messages) and not ended_normally):
        turn = _messages_of_turn(messages, snapshot, history)
        ids = {message.id for message in turn}
        earlier = [message for message in messages if message.id not in ids]
        return Turn("unanswered", turn, earlier, is_runnable)
    status: Literal["none", "answered"] = "answered" if messages or ended_normally else "none"
    return Turn(status, (), messages, is_runnable)


def unanswered_messages(messages: Sequence[BaseMessage]) -> Sequence[BaseMessage]:
    """Return the messages after the last model message."""
    return _after_last(messages, lambda each: isinstance(each, AIMessage))


def _after_last(
    messages: Sequence[BaseMessage], matches: Callable[[BaseMessage], bool]
) -> Sequence[BaseMessage]:
    following = takewhile(lambda each: not matches(each), reversed(messages))
    return messages[len(messages) - sum(1 for _ in following) :]


def _messages_of_turn(
    messages: Sequence[BaseMessage], snapshot: StateSnapshot, history: Iterable[StateSnapshot]
) -> Sequence[BaseMessage]:
    """Return the question of an unanswered turn and the messages after it.

    Proposals contain the id of their question. Without proposals, it is the last user message. A
    question of an earlier turn was the last message when it was asked, unlike other messages of an
    input.
    """
    unanswered = _after_last(messages, _is_final_answer)
    started = _started_turns(snapshot)
    first = next((i for i, each in enumerate(unanswered) if each.id in started), len(unanswered))
    human = [i for i, m in enumerate(unanswered[: first + 1]) if isinstance(m, HumanMessage)]
    begin = human[-1] if human else first
    question_ids = {each[-1].id for s in history if (each := s.values.get("messages"))}
    return [m for i, m in enumerate(unanswered) if i >= begin or m.id in question_ids]


def _is_final_answer(message: BaseMessage) -> bool:
    return isinstance(message, AIMessage) and not message.tool_calls


def _started_turns(snapshot: StateSnapshot) -> Collection[str]:
    """Return the ids of the turns of all proposals, including pending writes."""
    results = [snapshot.values, *(task.result for task in snapshot.tasks)]
    proposals = chain.from_iterable(map(_proposals_of, results))
    return {proposal["turn_id"] for proposal in proposals if "turn_id" in proposal}


def _proposals_of(result: Any) -> Collection[Mapping[str, Any]]:
    proposals = result.get("proposals") if isinstance(result, Mapping) else None
    return [translate_proposal(each) for each in (proposals or {}).values() if each]
