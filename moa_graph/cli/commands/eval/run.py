"""The command `moa eval run`: its options."""

from moa_graph.cli.commands.eval.options import OutOption, PlanArgument, RunCodeOption
from moa_graph.cli.options import MaxCostOption

EXAMPLES = ("moa eval run examples/plan.toml", "moa eval run table2.toml --max-cost 50")


def run(
    plan: PlanArgument,
    out: OutOption = None,
    max_cost: MaxCostOption = None,
    run_code: RunCodeOption = False,
) -> None:
    """Run a comparison: answer and judge every benchmark of a plan with every system.

    It runs `moa eval generate` and `moa eval judge` over one folder. Systems share identical calls.
    Run the same command again to continue; nothing is paid for twice.

    Exit code: 0 if everything is complete, 1 if something failed (run it again to repeat it), 3 if
    the budget (max_cost) left something out.
    """
    from moa_graph.cli.actions.eval_run import run_plan

    run_plan(plan, out, max_cost, run_code=run_code)
