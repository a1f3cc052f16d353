"""Compare the scorer `number` with the verdicts of GSM8K's authors on solutions of models.

    python tests/harness/published_scores.py example_model_solutions.jsonl

The file is `grade_school_math/data/example_model_solutions.jsonl` of openai/grade-school-math.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from moa_graph.evals.scorers.table import SCORERS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    verdicts = list(read_verdicts(parser.parse_args().file))
    differ = [solution for solution, published, ours in verdicts if published != ours]
    for solution in differ:
        print(f"judged differently: {solution[-80:]!r}")
    print(f"solutions: {len(verdicts)}, judged differently: {len(differ)}")


def read_verdicts(file: Path) -> Iterator[tuple[str, bool, bool]]:
    """Yield each solution with its published verdict and the one of the scorer."""
    for line in file.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        expected = {"expected": row["ground_truth"].rpartition("A:")[2].strip()}
        for value in row.values():
            if isinstance(value, dict):
                points = SCORERS["number"].score(value["solution"], expected).points
                yield value["solution"], value["is_correct"], points == 1


if __name__ == "__main__":
    main()
