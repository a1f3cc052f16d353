"""A bench of known truth at full size: what `moa eval` measures, beside what it has to be.

    python tests/harness/synthetic_bench.py --questions 400

Simulated proposers of given accuracy and correlation answer questions whose answer is a digit; see
`tests/simulated.py`. Expected figures are integrals, or, for votes, a direct simulation of a
million questions. No model is called.
"""

import argparse
import json
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from simulated import all_wrong, draw_answers, error_correlation, picked, question, truth
from typer.testing import CliRunner

from moa_graph.cli.app import app
from moa_graph.evals.report.comparison_info import find_judged_folders, read_comparison_info
from moa_graph.evals.report.results import read_sections

RHO, PICK, SAMPLES = 0.3, 0.9, 5
PROPOSERS = {"good": 0.8, "fair": 0.6, "poor": 0.3}
PLAN = """
concurrency = 4
[systems.mixture]
layers = [["good", "fair", "poor"]]
aggregator = "simulated:pick={pick}"
[systems.mixture.agents]
{agents}
[[variants]]
of = "mixture"
analyses = ["equal_cost", "leave_one_out"]
model = "fair"
samples = [{samples}]
[[benchmarks]]
name = "questions.jsonl"
scorer = "number"
[prices]
{prices}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--keep", type=Path, help="A folder for the comparison, to look at.")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder = options.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        with chdir(folder):
            measure(folder, options.questions)


def measure(folder: Path, questions: int) -> None:
    write_bench(folder, questions)
    add_provider(folder / "site")
    done = CliRunner().invoke(app, ["eval", "run", "plan.toml"])
    if done.exit_code:
        raise SystemExit(f"{done.output}{done.exception}")
    CliRunner().invoke(app, ["eval", "report", "out"])
    out = folder / "out"
    folders, _ = find_judged_folders(out, read_comparison_info(out))
    [section] = read_sections(folders, read_comparison_info(out), "none")
    qualities = {each.system: each.quality for each in section.measurements}
    print(f"{'figure':34} {'expected':>9} {'measured':>9}  95 % interval")
    for system, expected in expected_accuracies().items():
        value, low, high = qualities[system]
        mark = "" if low <= expected <= high else "  outside"
        print(f"{system:34} {expected:9.1f} {value:9.1f}  {low:.1f} to {high:.1f}{mark}")
    diversity = section.diversities["mixture"]
    expected = 100 * all_wrong(list(PROPOSERS.values()), RHO)
    low, high = diversity.all_wrong_interval
    print(f"{'all wrong':34} {expected:9.1f} {diversity.all_wrong:9.1f}  {low:.1f} to {high:.1f}")
    for pair in diversity.pairs:
        names = [name.removeprefix("layer_1_") for name in pair.names]
        expected = error_correlation(*(PROPOSERS[name] for name in names), RHO)
        title = f"correlation of {names[0]} and {names[1]}"
        print(f"{title:34} {expected:9.2f} {pair.correlation:9.2f}")
    print(section.cost_comparisons[0].sentence)
    print(section.contributions["mixture"].advice)


def expected_accuracies() -> dict[str, float]:
    """Give the accuracy of each system: of picks by integrals, of votes by simulation."""
    picks = {"mixture": list(PROPOSERS.values())}
    for name in PROPOSERS:
        picks[f"mixture-without-{name}"] = [p for n, p in PROPOSERS.items() if n != name]
    for use in ("best-of", "self-moa"):
        picks[f"mixture-{use}-{SAMPLES}-fair"] = [PROPOSERS["fair"]] * SAMPLES
    expected = {name: 100 * picked(PICK, ps, RHO) for name, ps in picks.items()}
    alone = {f"mixture-{name}-alone": 100 * p for name, p in PROPOSERS.items()}
    return {**alone, **expected, f"mixture-vote-of-{SAMPLES}-fair": 100 * simulate_vote()}


def simulate_vote(count: int = 1_000_000) -> float:
    """Put the samples of a model to the vote; of equal votes the first answer wins."""
    answers = draw_answers([PROPOSERS["fair"]] * SAMPLES, RHO, count)
    votes = np.array([(answers == answers[place]).sum(axis=0) for place in range(SAMPLES)])
    winners = answers[votes.argmax(axis=0), np.arange(count)]
    return float((winners == 0).mean())


def write_bench(folder: Path, questions: int) -> None:
    rows = [{"question": question(n), "expected": truth(n)} for n in range(questions)]
    (folder / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    models = {name: f"simulated:p={p},rho={RHO}" for name, p in PROPOSERS.items()}
    agents = "\n".join(f'{name} = "{model}"' for name, model in models.items())
    prices = {models["good"]: 100, models["fair"]: 10, models["poor"]: 10}
    prices[f"simulated:pick={PICK}"] = 10
    lines = "\n".join(f'"{model}" = [1, {price}]' for model, price in prices.items())
    text = PLAN.format(pick=PICK, agents=agents, samples=SAMPLES, prices=lines)
    (folder / "plan.toml").write_text(text)


def add_provider(site: Path) -> None:
    """Put the provider `simulated` on the path, as an installer would."""
    info = site / "simulated-1.0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: simulated\nVersion: 1.0\n")
    entry_points = "[moa_graph.providers]\nsimulated = simulated:SIMULATED\n"
    (info / "entry_points.txt").write_text(entry_points)
    sys.path.insert(0, str(site))


if __name__ == "__main__":
    main()
