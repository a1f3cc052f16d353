"""Formatting of seconds, tokens and costs."""

import re

from moa_graph.graph.agreement import LayerAgreement
from moa_graph.graph.depth import RunDepth
from moa_graph.graph.node_names import AGGREGATOR, parse_node_name
from moa_graph.graph.state import RefusedPrompt
from moa_graph.prompting.finish_reasons import name_ending
from moa_graph.runs.agent_call import AgentCall
from moa_graph.runs.record import RunRecord

MIN_SHOWN_COST = 0.0001
MINUTE = 60
MIN_SHOWN_HOURS = 7200  # seconds from which durations are formatted as hours and minutes

_HIDDEN_CHARACTERS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


def format_call(call: AgentCall) -> str:
    """Format a call, such as `1.2 s · 340 tok · ~$0.0021`."""
    parts: list[str] = [call.status] if call.error else []
    if call.seconds or not call.error:
        parts.append(format_seconds(call.seconds))
    if call.cached:
        parts.append("from the cache")
    elif call.usage:
        parts.append(f"{call.usage['total_tokens']:,} tok")
    if call.cost:
        parts.append(format_cost(call.cost))
    if call.hedged:
        parts.append("hedged")
    if call.ending_note:
        parts.insert(0, name_ending(call.finish_reason) or "")
    return " · ".join(parts)


def format_run(run: RunRecord) -> str:
    """Format a run in one line."""
    answered = sum(call.error is None for call in run.proposals)
    return " · ".join(
        [
            *_offline_note(run),
            *_answer_note(run),
            *_depth_note(run),
            f"{answered} of {run.planned_proposals} proposals",
            *([f"{len(run.dropped_nodes)} dropped by a person"] if run.dropped_nodes else []),
            f"{format_seconds(run.seconds)} on the critical path",
            format_total_tokens(run.tokens, complete=run.usage_is_complete)
            + _format_prompt_cached(run),
            format_total_cost(run.cost, complete=run.cost_is_complete),
        ]
    )


def _offline_note(run: RunRecord) -> list[str]:
    return [] if run.has_language_model else ["no language model: quotes"]


def _answer_note(run: RunRecord) -> list[str]:
    notes = [call.ending_note for call in run.calls if call.node == AGGREGATOR and call.ending_note]
    return [f"answer {note}" for note in notes]


def format_depth(depth: RunDepth) -> str:
    """Format the depth of a turn, and its reason."""
    place = f"{depth['layers']} of {_count_noun(depth['of'], 'layer')} run"
    text = f"{place}: {depth['why']}" if depth["why"] else place
    if shadow := depth.get("shadow"):
        tokens = f", {shadow['usage']['total_tokens']:,} tokens" if shadow["usage"] else ""
        saved = f"{_count_noun(shadow['skipped'], 'proposal')}{tokens}"
        text += f"; would have stopped after {shadow['layers']} ({shadow['why']}), without {saved}"
    return text


def format_run_depth(run: RunRecord) -> str | None:
    """Format the depth of a run with the calls and the cost that it saved; `None` if unknown."""
    if not run.depth:
        return None
    depth, number = format_depth(run.depth), run.depth["skipped"]
    if run.depth["layers"] == run.depth["of"] or not number:
        return depth
    calls = f"{_count_noun(number, 'proposer')} {'was' if number == 1 else 'were'} not called"
    saved = f", which saved at least {format_cost(cost)}" if (cost := run.skipped_cost) else ""
    return f"{depth}; {calls}{saved}"


def format_dissent(agreement: LayerAgreement) -> str:
    """Format the different answers and their nodes."""
    claims = (f"{each['claim']} ({', '.join(each['nodes'])})" for each in agreement["dissent"])
    return f"the proposals differ: {'; '.join(claims)}"


def _count_noun(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _depth_note(run: RunRecord) -> list[str]:
    if not run.depth or run.depth["layers"] == run.depth["of"]:
        return []
    return [f"{run.depth['layers']} of {_count_noun(run.depth['of'], 'layer')}"]


def format_totals(run: RunRecord) -> str:
    """Format the tokens, cost and seconds of a run."""
    return " · ".join(
        [
            *_offline_note(run),
            *_depth_note(run),
            format_total_tokens(run.tokens, complete=run.usage_is_complete),
            format_total_cost(run.cost, complete=run.cost_is_complete),
            format_seconds(run.seconds),
        ]
    )


def _format_prompt_cached(run: RunRecord) -> str:
    return f" ({run.cached_prompt_tokens:,} from prompt caches)" if run.cached_prompt_tokens else ""


def format_total_tokens(tokens: int, *, complete: bool) -> str:
    """Format a sum of tokens, which may be incomplete."""
    if not tokens and not complete:
        return "tokens unknown"
    return f"{tokens:,} tokens{'' if complete else ' at least'}"


def format_total_cost(dollars: float | None, *, complete: bool) -> str:
    """Format a sum of costs, which may be incomplete."""
    if dollars is None or not (dollars or complete):
        return "cost unknown"
    return f"{format_cost(dollars)}{'' if complete else ' at least'}"


def strip_hidden_characters(text: str) -> str:
    """Remove control characters and those that change the direction of text."""
    return _HIDDEN_CHARACTERS.sub("", text)


def format_seconds(seconds: float) -> str:
    """Format a duration, such as `0.25 s`, `1.2 s`, `2 min 05 s` or `3 h 05 min`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < MINUTE:
        return f"{seconds:.1f} s"
    if seconds >= MIN_SHOWN_HOURS:
        return format_about_seconds(seconds)
    minutes, rest = divmod(round(seconds), MINUTE)
    return f"{minutes} min {rest:02} s"


def format_about_seconds(seconds: float) -> str:
    """Format an estimated duration, such as `45 s`, `12 min` or `3 h 05 min`."""
    minutes, rest = divmod(round(seconds), MINUTE)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"


def format_cost(dollars: float | None) -> str:
    """Format an estimated cost, such as `~$0.0021`; `?` if it is unknown."""
    if dollars is None:
        return "?"
    if not dollars:
        return "$0"
    if dollars >= 1:
        return f"~${dollars:,.2f}"
    return f"~${dollars:.2g}" if dollars >= MIN_SHOWN_COST else f"<${MIN_SHOWN_COST}"


def format_dollars(dollars: float) -> str:
    """Format an exact amount or a limit, such as `$0.0021` or `$3.00`."""
    return f"${dollars:,.{4 if 0 < dollars < 1 else 2}f}"


def format_refused_prompt(refused: RefusedPrompt) -> str:
    """Describe that an agent was called again because its first prompt was too long."""
    tokens, context = refused["prompt_tokens"], refused["context_tokens"]
    size = f" of {tokens:,} tokens" if tokens else ""
    bound = f", which may have {context:,} with its answer" if context else ""
    return f"called again with a shorter prompt: the first{size} was too long{bound}"


def format_hedged() -> str:
    """Describe that a second request was sent for an agent."""
    return "hedged: a second request was sent because the first was slow"


def format_changes(run: RunRecord) -> str | None:
    """Describe which proposals a person edited or dropped; `None` if there are none."""
    edited = [call.node for call in run.proposals if call.is_edited]
    changes = [("edited", edited), ("dropped", run.dropped_nodes)]
    texts = [f"{verb} {', '.join(map(format_node, nodes))}" for verb, nodes in changes if nodes]
    return f"A person {' and '.join(texts)}" if texts else None


def format_node(node: str) -> str:
    """Write the node of a proposer as `a in layer 1`."""
    name = parse_node_name(node)
    return f"{name.agent} in layer {name.layer}" if name else node


def format_dropped_messages(count: int) -> str:
    """Describe that messages were left out of a long conversation."""
    messages = "earlier message was" if count == 1 else "earlier messages were"
    return f"the conversation no longer fits the models: {count:,} {messages} left out"
