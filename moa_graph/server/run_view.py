"""A run as the page draws it: one JSON object for each agent, whole or what changed of it."""

from collections.abc import MutableMapping
from time import perf_counter

from moa_graph.runs.live import AgentProgress, RunProgress
from moa_graph.server.json_types import JsonObject

_JSON_FIELDS = (
    *("node", "layer", "agent", "model", "status", "error", "seconds", "read", "written", "cost"),
    *("critical", "ending_note", "hedged"),
)


def agents_to_json(progress: RunProgress) -> list[JsonObject]:
    """Give all agents with their texts."""
    return [_agent_to_json(each) | {"text": each.text} for each in progress.agents.values()]


def collect_changes(
    progress: RunProgress, sent: MutableMapping[str, JsonObject]
) -> list[JsonObject]:
    """Give what has changed since the last call with the same `sent`, and note it there.

    An agent comes whole, but of a text that only grew what it grew by (`more`).
    """
    changed = []
    for node, agent in progress.agents.items():
        fields, text = _agent_to_json(agent), agent.text
        current = {**fields, "rewrites": agent.rewrites, "length": len(text)}
        if agent.status == "running":
            current["seconds"] = None  # they change all the time
        previous = sent.get(node, {"rewrites": None, "length": 0})
        if current != previous:
            is_rewritten = current["rewrites"] != previous["rewrites"]
            new_text = {"text": text} if is_rewritten else {"more": text[previous["length"] :]}
            changed.append(fields | new_text)
        sent[node] = current
    return changed


def _agent_to_json(agent: AgentProgress) -> JsonObject:
    fields = {name: getattr(agent, name) for name in _JSON_FIELDS}
    if agent.status == "running":
        fields["seconds"] = round(agent.elapsed(perf_counter()), 3)
        fields["written"] = agent.estimated_tokens or None
    return fields
