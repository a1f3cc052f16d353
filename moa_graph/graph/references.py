"""References: the proposals of a layer, as the readers in the next layer find them in their prompt.

The layer aggregator templates them once and passes the text on in the channel `references`, which
no checkpoint stores because it repeats the proposals. A reader in a process that resumes the run
finds the channel empty and templates the same proposals again, word for word.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

from langgraph.channels import UntrackedValue

from moa_graph.prompting.layout import PromptLayout

State = TypeVar("State", bound=Mapping[str, Any])

# A list of one: LangGraph looks for messages to stream in every sequence, in a text character by
# character.
ReferencesChannel = Annotated[list[str], UntrackedValue(list, guard=False)]


def collect_references(
    nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout
) -> tuple[list[str], str]:
    """Give what these nodes proposed, and a seed that none of them knows."""
    answered = [p for node in nodes if (p := state["proposals"].get(node)) and not p["error"]]
    texts = [layout.mark_ending(p["content"], p.get("finish_reason")) for p in answered]
    return texts, "".join(p.get("attempt_id", "") for p in answered)


def references_update(
    nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout
) -> dict[str, list[str]]:
    """Template the proposals of these nodes for those who read them next."""
    references, seed = collect_references(nodes, state, layout)
    return {"references": [layout.template_references_text(references, seed)]}


def read_references(nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout) -> str:
    """Give the templated proposals of these nodes, passed on or templated again."""
    [text] = state.get("references") or references_update(nodes, state, layout)["references"]
    return text


def without_references(state: State) -> State:
    """Copy a state for a reader whose prompt is its own: it templates the proposals itself."""
    return cast("State", {**state, "references": []})
