"""Choose the turn of a thread that a report shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.types import StateSnapshot

from moa_graph.prompting.attachments import remove_attachments


@dataclass(frozen=True)
class EarlierTurn:
    """A turn before the reported one."""

    question: str
    answer: str


@dataclass(frozen=True)
class ReportedTurn:
    """A turn and its position in the thread."""

    state: Mapping[str, Any]
    snapshots: Sequence[StateSnapshot]
    """Checkpoints up to its end, newest first."""
    number: int
    """Number of the turn, from 1."""
    count: int
    """Number of turns of the thread, including a running one."""
    earlier: Sequence[EarlierTurn]


def choose_turn(
    state: Mapping[str, Any], history: Sequence[StateSnapshot], turn: int | None
) -> ReportedTurn:
    """Return a turn of a thread.

    Args:
        state: The newest state.
        history: The checkpoints of the thread, newest first.
        turn: Number of the turn, from 1, or from the end as -1; `None` for the last one.

    Raises:
        ValueError: If there is no such turn, or no checkpoint of it.
    """
    messages: Sequence[AnyMessage] = state.get("messages") or ()
    ends = _find_ends(messages)
    count = len(ends)
    number = count if turn is None else turn + count + 1 if turn < 0 else turn
    if not 1 <= number <= max(count, 1):
        raise ValueError(f"`turn`={turn!r}: expected the number of a turn, 1 to {count}")
    earlier = _list_turns(messages, ends[: number - 1])
    snapshots = drop_abandoned_branches(history)
    if number >= count:
        return ReportedTurn(state, snapshots, number, count, earlier)
    place = _find_checkpoint(messages[ends[number - 1] - 1], snapshots)
    if place is None:
        raise ValueError(
            f"`turn`={turn!r}: expected `history` with a checkpoint of it, got "
            f"{len(snapshots)} checkpoints without one"
        )
    return ReportedTurn(snapshots[place].values, snapshots[place:], number, count, earlier)


def drop_abandoned_branches(history: Sequence[StateSnapshot]) -> list[StateSnapshot]:
    """Remove the checkpoints of abandoned branches."""
    ancestors: list[StateSnapshot] = []
    for snapshot in history:
        parent = (ancestors[-1].parent_config or {}) if ancestors else snapshot.config
        parent_id = parent.get("configurable", {}).get("checkpoint_id")
        if snapshot.config["configurable"]["checkpoint_id"] == parent_id:
            ancestors.append(snapshot)
    return ancestors


def _find_ends(messages: Sequence[AnyMessage]) -> list[int]:
    """Return the end of each turn: its answer; an unanswered turn ends the thread."""
    ends = [
        place
        for place, message in enumerate(messages, 1)
        if isinstance(message, AIMessage)
        and (place == len(messages) or messages[place].type == "human")
    ]
    is_open = bool(messages) and (not ends or ends[-1] < len(messages))
    return [*ends, len(messages)] if is_open else ends


def _list_turns(messages: Sequence[AnyMessage], ends: Sequence[int]) -> list[EarlierTurn]:
    return [
        EarlierTurn(
            "\n\n".join(
                remove_attachments(each.text)
                for each in messages[start:end]
                if each.type == "human"
            ),
            messages[end - 1].text,
        )
        for start, end in zip([0, *ends], ends, strict=False)
    ]


def _find_checkpoint(answer: AnyMessage, snapshots: Sequence[StateSnapshot]) -> int | None:
    """Return the newest checkpoint whose last message is an answer."""
    for place, snapshot in enumerate(snapshots):
        messages = snapshot.values.get("messages")
        if messages and messages[-1].id == answer.id:
            return place
    return None
