"""A run as JSON for the page: one object for each agent, complete or as changes."""

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from moa_graph.graph.node_names import AGGREGATOR
from moa_graph.graph.state import is_retry_mark, read_retry_cause
from moa_graph.markdown import StreamedMarkdown
from moa_graph.runs.live import AgentProgress, RunProgress
from moa_graph.server.json_types import JsonObject
from moa_graph.server.worked_time import WorkedTime

PATIENCE = {True: 16, False: 4}
"""Render intervals of streamed Markdown for the aggregator, whose answer is being read, and for
other agents; see `StreamedMarkdown`."""

_JSON_FIELDS = (
    *("node", "layer", "agent", "model", "status", "error", "seconds", "read", "written", "cost"),
    *("critical", "ending_note", "hedged", "fallback", "attempts", "served_model"),
)


class RunMarkdown:
    """The texts of a running run as HTML, rendered once for all watchers."""

    def __init__(self) -> None:
        self._texts: dict[str, tuple[int, StreamedMarkdown]] = {}

    def render(self, agent: AgentProgress) -> StreamedMarkdown:
        """Return the rendered blocks of an agent's text."""
        known = self._texts.get(agent.node)
        if known and known[0] == agent.rewrites:
            streamed = known[1]
        else:
            streamed = StreamedMarkdown(PATIENCE[agent.node == AGGREGATOR])
            self._texts[agent.node] = agent.rewrites, streamed
        streamed.update(agent.text, is_over=agent.status != "running")
        return streamed


@dataclass
class SentCell:
    """The state of an agent that a page has received."""

    fields: Mapping[str, object] = field(default_factory=dict)
    rewrites: int | None = None
    length: int = 0
    """Number of characters of its text."""
    finished: int = 0
    """Number of final blocks."""
    unfinished: Sequence[str] = ()
    """The blocks after them."""


def agents_to_json(progress: RunProgress, starts: Sequence[float]) -> list[JsonObject]:
    """Return all agents with their texts.

    Args:
        progress: The run.
        starts: Starts of the runs of its turn, in seconds since 1970.
    """
    agents = progress.agents.values()
    worked = WorkedTime.from_agents(agents, starts)
    return [_agent_to_json(each, worked) | {"text": each.text} for each in agents]


def collect_changes(
    progress: RunProgress,
    starts: Sequence[float],
    sent: MutableMapping[str, SentCell],
    markdown: RunMarkdown,
) -> list[JsonObject]:
    """Return the changes since the last call with the same `sent`, and update it.

    An agent is complete, except that a text that only grew is sent as its new part (`more`), and
    its blocks as the new or unfinished ones (`html_more`, from the block `html_from`).
    """
    worked = WorkedTime.from_agents(progress.agents.values(), starts)
    changes = (
        _collect_change(agent, worked, sent.setdefault(node, SentCell()), markdown)
        for node, agent in progress.agents.items()
    )
    return [each for each in changes if each]


def _collect_change(
    agent: AgentProgress, worked: WorkedTime, sent: SentCell, markdown: RunMarkdown
) -> JsonObject | None:
    fields, text, streamed = _agent_to_json(agent, worked), agent.text, markdown.render(agent)
    compared = fields | ({"seconds": None} if agent.status == "running" else {})  # always changes
    is_rewritten = agent.rewrites != sent.rewrites
    new_text = {"text": text} if is_rewritten else {"more": text[sent.length :]}
    new_html = {"html": streamed.blocks[:]} if is_rewritten else _collect_html(streamed, sent)
    is_same = compared == sent.fields and len(text) == sent.length
    sent.fields, sent.rewrites, sent.length = compared, agent.rewrites, len(text)
    sent.finished, sent.unfinished = streamed.finished, streamed.blocks[streamed.finished :]
    if is_same and not is_rewritten and not new_html:
        return None
    return fields | new_text | new_html


def _collect_html(streamed: StreamedMarkdown, sent: SentCell) -> JsonObject:
    """Return the blocks from the first new or changed one."""
    start = sent.finished
    for old, new in zip(sent.unfinished, streamed.blocks[start:], strict=False):
        if old != new:
            break
        start += 1
    if start == len(streamed.blocks) == sent.finished + len(sent.unfinished):
        return {}
    return {"html_from": start, "html_more": streamed.blocks[start:]}


def _agent_to_json(agent: AgentProgress, worked: WorkedTime) -> JsonObject:
    fields: JsonObject = {name: getattr(agent, name) for name in _JSON_FIELDS}
    fields |= {
        "cached": agent.from_cache,
        "reused": agent.is_reused,
        "edited": agent.is_edited,
        "retrying": agent.is_retrying,
        "stopped": agent.is_stopped,
        "began": worked.until(agent.called_at),
    }
    if agent.status == "running":
        fields["seconds"] = round(agent.elapsed(perf_counter()), 3)
        fields["written"] = agent.estimated_tokens or None
    elif is_retry_mark(agent.error):
        fields |= {"status": "asked again", "error": read_retry_cause(agent.error or "")}
    return fields
