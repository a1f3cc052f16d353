"""The command `moa eval run`: its options."""

from moa_graph.cli.commands.eval.options import OutOption, PlanArgument
from moa_graph.cli.options import MaxCostOption

EXAMPLES = ("moa eval run examples/plan.toml", "moa eval run table2.toml --max-cost 50")


def run(
    plan: PlanArgument,
    out: OutOption = None,
    max_cost: MaxCostOption = None,
) -> None:
    """Do a whole comparison: every system of a plan on every benchmark, answered and judged.

    It is `moa eval generate` and `moa eval judge` over one folder: systems share what they ask
    alike, and run again, it goes on where it was and pays for nothing twice.

    Exit code: 0 if all is there, 1 if something failed (run it again to ask again), 3 if the
    budget (max_cost) left something undone.
    """
    from moa_graph.cli.actions.eval_run import run_plan

    run_plan(plan, out, max_cost)
