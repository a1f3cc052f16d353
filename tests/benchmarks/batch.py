"""Memory and speed of `moa batch` over a long file: resident memory must not grow with it.

    python tests/benchmarks/batch.py --records 1_000_000

is the whole of it, which takes hours; with `--answered 998_000` all but the last 2,000 are taken to
be answered by a process before. By default it is 20,000 records.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import report
from server import serving

from moa_graph import MoAConfig
from moa_graph.batch.input import batch_name, read_records, thread_id_for
from moa_graph.batch.output import BatchFiles

MOA = Path(sys.executable).parent / "moa"
TENTHS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small, to see that it works")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--records", type=int, default=20_000)
    parser.add_argument("--answered", type=int, default=0)
    parser.add_argument("--concurrency", type=int, default=16)
    options = parser.parse_args()
    records = 100 if options.quick else options.records
    answered = min(options.answered, records - TENTHS)
    with tempfile.TemporaryDirectory() as folder, serving({"*": {"words": 100}}) as server:
        work = write(Path(folder), server.url, records)
        pretend(work, answered)
        rows = list(measure(work, answered, records, options.concurrency))
        calls = server.take_counts()["calls"]
    report("moa batch: memory over a long file", rows, options.json, calls=calls, records=records)


def write(folder: Path, url: str, records: int) -> Path:
    """Write the prompts, a line each, and a mixture of two proposers and an aggregator."""
    with (folder / "prompts.jsonl").open("w") as file:
        for number in range(records):
            file.write(json.dumps({"prompt": f"Question {number}: {'why? ' * 50}"}) + "\n")
    agent = f'{{ model = "openai:m", base_url = "{url}" }}'
    text = f'layers = [["m", "m"]]\naggregator = "m"\n[agents]\nm = {agent}\n'
    (folder / "mixture.toml").write_text(text)
    return folder


def pretend(folder: Path, answered: int) -> None:
    """Write the answers to the first records, as if a process before had asked."""
    path = folder / "answers.jsonl"
    batch = batch_name(path, MoAConfig.load(folder / "mixture.toml"))
    with BatchFiles(path) as files:
        for record in read_records(folder / "prompts.jsonl", answered):
            row = {"line": record.line, "id": record.id, "answer": "word " * 100, "usage": None}
            files.write(row | {"thread": thread_id_for(batch, record)})


def measure(folder: Path, before: int, records: int, concurrency: int) -> Iterator[dict[str, Any]]:
    """Run the command, and look at it each time that a tenth of what is asked is answered."""
    words = ["batch", "prompts.jsonl", "-o", "answers.jsonl", "-c", "mixture.toml"]
    command = [MOA, *words, "--concurrency", str(concurrency)]
    answered, begun, asked = Lines(folder / "answers.jsonl"), time.monotonic(), records - before
    answered.count()
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL) as process:
        for tenth in range(1, TENTHS + 1):
            while answered.count() < before + asked * tenth // TENTHS and process.poll() is None:
                time.sleep(0.005 if asked < 1000 else 0.2)
            if process.poll() is None:
                yield {
                    "answered": answered.number,
                    "seconds": round(time.monotonic() - begun, 1),
                    "resident MB": round(resident(process.pid) / 1e6, 1),
                    "database MB": round(size(folder.glob("answers.sqlite*")) / 1e6, 2),
                }


class Lines:
    """Counts the lines of a file that grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read, self.number = path, 0, 0

    def count(self) -> int:
        if self._path.exists():
            with self._path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            self._read, self.number = self._read + len(new), self.number + new.count(b"\n")
        return self.number


def resident(pid: int) -> int:
    """Give the resident memory of a process, in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096


def size(paths: Iterator[Path]) -> int:
    return sum(path.stat().st_size for path in paths)


if __name__ == "__main__":
    main()
