"""Mutates the modules on which most depends, and counts what their tests do not notice.

    pip install -r tests/mutation/requirements.txt
    python tests/mutation/run.py                             # all mutants of all modules
    python tests/mutation/run.py --sample 60 --seed 1        # of each module, 60 drawn at random
    python tests/mutation/run.py state --show                # one, with the mutants that survive

mutmut changes a module in one place; each mutant meets the tests named here that run the function
it is in, one after the other on one processor. `MODULES` says which tests these are. A test that
fails without a mutant, but not again, is left out; if tests fail twice, their module is skipped.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from plugin import HYPOTHESIS_PROFILE, MutationPlugin

TESTS = Path(__file__).parents[1]
MODULES = {
    "quorum": ("graph.quorum", ["graph/test_quorum.py", "graph/test_error_causes.py"]),
    "policy": ("graph.policy", ["graph/test_quorum.py", "graph/test_deadlines.py"]),
    "deadlines": ("graph.deadlines", ["graph/test_deadlines.py"]),
    "state": ("graph.state", ["graph/test_state.py", "graph/test_checkpoints.py"]),
    "redaction": ("redaction", ["test_redaction.py"]),
    "prompts": (
        "graph.prompts",
        [
            "graph/test_contexts.py",
            "prompting/test_history.py",
            "prompting/test_message_roles.py",
            "prompting/test_prompts.py",
        ],
    ),
    "auth": ("server.auth", ["server/test_auth.py", "server/test_origin_policy.py"]),
    "origin_policy": (
        "server.origin_policy",
        ["server/test_origin_policy.py", "server/test_auth.py"],
    ),
    "call_store": ("evals.call_store", ["evals/test_call_store.py"]),
    "markers": (
        "prompting.markers",
        ["prompting/test_markers.py", "prompting/test_untrusted.py"],
    ),
}
ARGUMENTS = [
    *("-q", "-s", "-n", "0", "-p", "no:cacheprovider", "-p", "no:timeout"),
    *("--hypothesis-seed=0", f"--hypothesis-profile={HYPOTHESIS_PROFILE}"),
]


def run_mutants(names: list[str], sample: int | None, seed: int, *, show: bool) -> int:
    """Run the tests of some modules on their mutants.

    Args:
        names: Of `MODULES`.
        sample: How many mutants of each; all with `None`.
        seed: Says which.
        show: Whether those that survive are shown.

    Returns:
        The exit code of pytest.
    """
    modules = {
        f"moa_graph.{module}": [TESTS / each for each in tests]
        for module, tests in (MODULES[name] for name in names)
    }
    files = dict.fromkeys(str(file) for each in modules.values() for file in each)
    with TemporaryDirectory() as folder:
        plugin = MutationPlugin(modules, sample, seed, show, Path(folder))
        return int(pytest.main([*ARGUMENTS, *files], plugins=[plugin]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--sample", type=int, metavar="N", help="run N mutants of each module")
    parser.add_argument("--seed", type=int, default=1, help="of the sample (default: 1)")
    parser.add_argument("--show", action="store_true", help="show the mutants that survive")
    options = parser.parse_args()
    if unknown := {*options.modules} - {*MODULES}:
        parser.error(f"{', '.join(sorted(unknown))}: expected one of {', '.join(MODULES)}")
    if options.sample is not None and options.sample < 1:
        parser.error(f"--sample={options.sample}: expected 1 or more")
    os.chdir(TESTS.parent)  # where the settings of pytest and mutmut are
    names = options.modules or [*MODULES]
    raise SystemExit(run_mutants(names, options.sample, options.seed, show=options.show))


if __name__ == "__main__":
    main()
