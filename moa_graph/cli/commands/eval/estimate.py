"""The command `moa eval estimate`: its options."""

from typing import Annotated

import typer

from moa_graph.cli.commands.eval.options import OutOption, PlanArgument
from moa_graph.cli.options import JsonOption

EXAMPLES = ("moa eval estimate examples/plan.toml", "moa eval estimate table2.toml --json")


def estimate(
    plan: PlanArgument,
    out: OutOption = None,
    answer_tokens: Annotated[
        int, typer.Option("--answer-tokens", metavar="N", min=1, help="Tokens of a typical answer.")
    ] = 500,
    as_json: JsonOption = False,
) -> None:
    """Estimate the calls, tokens, cost and time of a comparison, without a call.

    Calls that systems share count once, and stored calls do not count. An unknown cost is shown as
    unknown, and a maximum that does not exist as `no bound`.
    """
    from moa_graph.cli.actions.eval_run import print_preflight

    print_preflight(plan, out, answer_tokens, as_json=as_json)
