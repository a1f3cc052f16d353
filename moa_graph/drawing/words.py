"""How seconds, tokens and money are written in drawings and reports."""

from moa_graph.runs import Call, Run

SMALL = 0.0001


def say_call(call: Call) -> str:
    """Write what a call came to, such as `1.2 s · 340 tok · ~$0.0021`."""
    parts: list[str] = [call.status] if call.error else []
    parts.append(say_seconds(call.seconds))
    if call.usage:
        parts.append(f"{call.usage['total_tokens']:,} tok")
    if call.cost:
        parts.append(say_cost(call.cost))
    return " · ".join(parts)


def say_run(run: Run) -> str:
    """Write what a run came to in one line."""
    answered = sum(call.error is None for call in run.proposals)
    parts = [f"{answered} of {len(run.proposals)} proposals"]
    parts.append(f"{say_seconds(run.seconds)} on the critical path")
    if run.tokens:
        parts.append(f"{run.tokens:,} tokens")
    if run.cost:
        parts.append(f"{say_cost(run.cost)}{'' if run.complete else ' at least'}")
    return " · ".join(parts)


def say_seconds(seconds: float) -> str:
    """Write seconds, such as `0.3 s` or `2 min 05 s`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 60:  # noqa: PLR2004  # a minute
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s"


def say_cost(dollars: float) -> str:
    """Write an estimate of money, such as `~$0.0021`."""
    if dollars >= 1:
        return f"~${dollars:,.2f}"
    return f"~${dollars:.2g}" if dollars >= SMALL else f"<${SMALL}"
