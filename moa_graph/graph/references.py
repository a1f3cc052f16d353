"""References: pass the proposals of a layer to the prompts of the next one.

The layer aggregator templates them once and writes the text to the channel `references`. No
checkpoint stores this channel, because it repeats the proposals. A reader in a process that resumes
the run finds the channel empty and templates the same proposals to the same text.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast

from langgraph.channels import UntrackedValue

from moa_graph.prompting.layout import PromptLayout

State = TypeVar("State", bound=Mapping[str, Any])

# A list with one text: LangGraph searches every sequence for messages to stream, and would search
# a text character by character.
ReferencesChannel = Annotated[list[str], UntrackedValue(list, guard=False)]


def collect_references(
    nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout
) -> tuple[list[str], str]:
    """Return the proposals of these nodes, and a seed that proposals cannot predict."""
    answered = [p for node in nodes if (p := state["proposals"].get(node)) and not p["error"]]
    texts = [
        layout.format_reference(p["content"], p.get("finish_reason"), p.get("reasoning", ""))
        for p in answered
    ]
    return texts, "".join(p.get("attempt_id", "") for p in answered)


def references_update(
    nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout
) -> dict[str, list[str]]:
    """Template the proposals of these nodes for their next readers."""
    references, seed = collect_references(nodes, state, layout)
    return {"references": [layout.template_references_text(references, seed)]}


def read_references(nodes: Sequence[str], state: Mapping[str, Any], layout: PromptLayout) -> str:
    """Return the templated proposals of these nodes from the state, or template them again."""
    [text] = state.get("references") or references_update(nodes, state, layout)["references"]
    return text


def without_references(state: State) -> State:
    """Copy a state for a reader with its own prompt, which templates the proposals itself."""
    return cast("State", {**state, "references": []})
