"""Whether what a text takes is in proportion to its length, for all that reads a stranger's text.

    python tests/benchmarks/text.py             # 10,000 and 100,000 characters
    python tests/benchmarks/text.py --size 3000 # a tenth of that, about a minute

For each reader: how many times as long the longer text takes, for the family of texts with which it
takes longest. In proportion is 10, the square is 100.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from proportion import growth  # noqa: E402
from test_linear_time import FAMILIES, FEW, READERS, SLOW, seconds_of  # noqa: E402

NOISE_S = 0.001  # what takes less is taken to take as long


def main() -> None:
    """Measure all readers, and print what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", type=int, default=10_000, help="characters of the shorter text")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    rows = {}
    for name, read in READERS.items():
        families = FEW if name in SLOW else FAMILIES
        figures = [
            (
                *growth(seconds_of(read, FAMILIES[each]), options.size, 10 * options.size, NOISE_S),
                each,
            )
            for each in families
        ]
        times, seconds, family = max(figures)
        slowest = max(figure[1] for figure in figures)
        rows[name] = {"times": times, "family": family, "seconds": seconds, "slowest": slowest}
        print(
            f"{name:<28} {times:>6.1f} x  {slowest * 1000:>8.1f} ms at most  ({family})", flush=True
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2))


if __name__ == "__main__":
    main()
