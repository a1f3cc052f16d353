"""Mutates the modules on which most depends, and counts what their tests do not notice.

    pip install -r tests/mutation/requirements.txt
    python tests/mutation/run.py                 # all of them, on one processor
    python tests/mutation/run.py quorum state    # some
    python tests/mutation/run.py state --show    # with the mutants that survive

Each module is mutated by mutmut in a copy of the repository, and each mutant meets the tests named
here that run the function it is in. `MODULES` says which tests these are.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
MODULES = {
    "quorum": ("graph/quorum.py", ["graph/test_quorum.py", "graph/test_error_causes.py"]),
    "policy": ("graph/policy.py", ["graph/test_quorum.py"]),
    "deadlines": ("graph/deadlines.py", ["graph/test_deadlines.py"]),
    "state": ("graph/state.py", ["graph/test_state.py", "graph/test_checkpoints.py"]),
    "redaction": ("redaction.py", ["test_redaction.py"]),
    "prompts": ("graph/prompts.py", ["graph/test_contexts.py", "prompting/test_prompts.py"]),
    "auth": ("server/auth.py", ["server/test_auth.py"]),
    "call_store": ("evals/call_store.py", ["evals/test_call_store.py"]),
    "markers": (
        "prompting/markers.py",
        ["prompting/test_markers.py", "prompting/test_untrusted.py"],
    ),
}
ARGUMENTS = ["-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--timeout", "60"]
NOTICED = ("killed", "timeout", "segfault")


def mutate(folder: Path, module: str, tests: list[str]) -> dict[str, int]:
    """Mutate a module in a copy of the repository.

    Args:
        folder: Where the copy goes.
        module: The module, below `moa_graph`.
        tests: Its tests, below `tests`.

    Returns:
        How many mutants there are of each result.
    """
    for part in ("moa_graph", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    settings = {
        "source_paths": ["moa_graph"],
        "only_mutate": [f"moa_graph/{module}"],
        "pytest_add_cli_args_test_selection": [f"tests/{each}" for each in tests],
        "pytest_add_cli_args": ARGUMENTS,
        "process_isolation": "forkserver",  # tests leave threads behind, which a fork would lack
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    text = (ROOT / "pyproject.toml").read_text()
    (folder / "pyproject.toml").write_text("\n".join([text, "[tool.mutmut]", *lines, ""]))
    _call_mutmut(folder, "run", "--max-children", "1")
    _call_mutmut(folder, "export-cicd-stats")
    return json.loads((folder / "mutants" / "mutmut-cicd-stats.json").read_text())


def _call_mutmut(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mutmut", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(arguments)}:\n{done.stdout[-5_000:]}\n{done.stderr[-5_000:]}")
    return done.stdout


def _survivors(folder: Path) -> list[str]:
    rows = (line.strip().partition(": ") for line in _call_mutmut(folder, "results").splitlines())
    return [name for name, _, result in rows if result in {"survived", "no tests"}]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(MODULES)}")
    parser.add_argument("--show", action="store_true", help="show the mutants that survive")
    options = parser.parse_args()
    if unknown := {*options.modules} - {*MODULES}:
        parser.error(f"{', '.join(sorted(unknown))}: expected some of {', '.join(MODULES)}")
    print(f"{'module':<28} mutants  noticed  score", flush=True)
    for name in options.modules or MODULES:
        module, tests = MODULES[name]
        with TemporaryDirectory() as folder:
            stats = mutate(Path(folder), module, tests)
            noticed, total = sum(stats[each] for each in NOTICED), stats["total"]
            print(f"{module:<28} {total:>7}  {noticed:>7}  {noticed / total:>5.0%}", flush=True)
            for mutant in _survivors(Path(folder)) if options.show else ():
                print(_call_mutmut(Path(folder), "show", mutant), flush=True)


if __name__ == "__main__":
    main()
