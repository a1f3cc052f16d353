"""The scorer `code`, which runs Python code and tests in a separate process."""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from moa_graph.evals.scorers.extraction import list_code_blocks
from moa_graph.evals.scorers.protocol import Score, Scorer

_SECONDS = 10.0
_MEMORY_BYTES = 1 << 30
_NOTE_CHARS = 300
_SANDBOX = Path(__file__).with_name("sandbox.py")


class PythonCode(Scorer):
    """Passes if the code of the answer passes the row's `tests`, which are Python statements.

    The code is the last Python block of the answer, or the whole answer. `seconds` in the row is
    the time limit.
    """

    name = "code"
    required_keys: Sequence[str] = ("tests",)
    reads_answers = False
    runs_code = True

    def score(self, answer: str, row: Mapping[str, Any]) -> Score:
        """Run the code and the tests."""
        tests = row["tests"]
        text = "\n".join(map(str, tests)) if isinstance(tests, list) else str(tests)
        seconds = float(row.get("seconds", _SECONDS))
        failure = run_python(find_code(answer), text, seconds=seconds)
        return Score(float(failure is None), note=failure)


def find_code(answer: str) -> str:
    """Return the last Python block of an answer, or the whole answer."""
    blocks = list_code_blocks(answer)
    python = [code for tag, code in blocks if tag in {"", "py", "python", "python3"}]
    return python[-1] if python else answer


def run_python(code: str, tests: str, *, seconds: float = _SECONDS) -> str | None:
    """Run untrusted code, and then tests with the same names.

    `sandbox.py` describes the restrictions and their limits.

    Args:
        code: The code.
        tests: Statements that raise if something is wrong.
        seconds: Time limit in seconds.

    Returns:
        `None` if the tests passed, otherwise the cause.

    Raises:
        ValueError: If this system cannot restrict a process.
    """
    if os.name != "posix":
        raise ValueError("scorer code: expected Linux or macOS, which can restrict a process")
    with TemporaryDirectory(prefix="moa-code-") as folder:
        return _run_in_folder(Path(folder), {"code": code, "tests": tests}, seconds)


def _run_in_folder(folder: Path, task: Mapping[str, str], seconds: float) -> str | None:
    password, errors = secrets.token_hex(16), folder / ".errors"
    request = {**task, "password": password, "seconds": seconds, "memory": _MEMORY_BYTES}
    read_end, write_end = os.pipe()
    try:
        with errors.open("wb") as error_file:
            process = subprocess.Popen(  # noqa: S603  # the interpreter, and our own script
                [sys.executable, "-I", "-B", _SANDBOX, str(write_end)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=error_file,
                cwd=folder,
                env={"LANG": "C.UTF-8", "HOME": str(folder), "TMPDIR": str(folder)},
                pass_fds=[write_end],
                start_new_session=True,
            )
        if not _wait_for(process, json.dumps(request).encode(), seconds):
            return f"took more than {seconds:g} s"
        os.close(write_end)
        write_end = -1
        os.set_blocking(read_end, False)  # an escaped process may hold the other end
        with suppress(BlockingIOError):
            if os.read(read_end, len(password)) == password.encode():
                return None
        return _read_failure(errors) or f"ended with exit code {process.returncode}"
    finally:
        os.close(read_end)
        if write_end >= 0:
            os.close(write_end)


def _wait_for(process: "subprocess.Popen[bytes]", request: bytes, seconds: float) -> bool:
    """Return whether a process ends in time; otherwise kill it with its children."""
    started = monotonic()
    try:
        process.communicate(request, timeout=seconds + 1)
    except subprocess.TimeoutExpired:
        return False
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if process.returncode == -signal.SIGKILL:  # killed early, because of its memory
        return monotonic() - started < seconds
    return process.returncode != -signal.SIGXCPU


def _read_failure(errors: Path) -> str | None:
    """Return the last line of the error output, whose size the sandbox limits."""
    lines = errors.read_bytes().decode("utf-8", "replace").strip().splitlines()
    return lines[-1][:_NOTE_CHARS] if lines else None
