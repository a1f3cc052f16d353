"""Programs that are forked from a process which has the packages: a fresh one imports for seconds.

What matters of a process is there: signals, standard streams, an exit code, a death. Where its
start matters, or its terminal, start it by `subprocess`.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Timer
from typing import Any, Self

from waiting import PATIENCE

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    [
        "moa_graph.cli.actions.chat",
        "moa_graph.cli.actions.eval_generate",
        "moa_graph.cli.actions.mcp",
        "moa_graph.cli.actions.run",
        "moa_graph.server.anthropic_messages",
        "langchain_openai",
        "langgraph.checkpoint.sqlite.aio",
    ]
)


class Forked:
    """`moa …` or `python -c …`, as `subprocess.Popen` would start it, with its streams as text.

    Args:
        words: The command.
        env: Its whole environment, by default that of the tests.
        stdin: Whether it reads what is written; else it reads nothing.
    """

    def __init__(
        self, words: Sequence[Any], *, env: Mapping[str, str] | None = None, stdin: bool = False
    ) -> None:
        self.args = [str(word) for word in words]
        out, err = FORKS.Pipe(duplex=False), FORKS.Pipe(duplex=False)
        given = FORKS.Pipe(duplex=False) if stdin else None
        ends = [out[1], err[1], *([given[0]] if given else [])]
        self._process = fork(self.args, os.environ if env is None else env, Path.cwd(), ends)
        self.stdout, self.stderr = _open(out[0], "r"), _open(err[0], "r")
        self.stdin = _open(given[1], "w") if given else None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired(self.args, timeout)
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def communicate(self, text: str = "", timeout: float = PATIENCE) -> tuple[str, str]:
        """Write, and read to the end; what takes too long is killed."""
        timer = Timer(timeout, self.kill)
        timer.start()
        try:
            with ThreadPoolExecutor() as pool:
                read = [pool.submit(each.read) for each in (self.stdout, self.stderr)]
                if self.stdin and not self.stdin.closed:
                    self.stdin.write(text)
                    self.stdin.close()
                out, err = (each.result() for each in read)
            self.wait(timeout)
        finally:
            timer.cancel()
            self._close()
        return out, err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()
        self.wait()
        self._close()

    def _close(self) -> None:
        for each in (self.stdin, self.stdout, self.stderr):
            if each:
                each.close()


def run_forked(
    words: Sequence[Any], *, text: str = "", env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    process = Forked(words, env=env, stdin=bool(text))
    out, err = process.communicate(text)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def fork(
    words: Sequence[str], env: Mapping[str, str], folder: Path, ends: Sequence[Connection]
) -> Any:
    """Start a program whose output, errors and input are these ends; they are closed here."""
    process = FORKS.Process(target=_run, args=(words, dict(env), folder, ends), daemon=True)
    process.start()
    for end in ends:
        end.close()
    return process


def _open(end: Connection, mode: str) -> Any:
    """Make a file of one end of a pipe."""
    file = os.fdopen(os.dup(end.fileno()), mode, encoding="utf-8", errors="surrogateescape")
    end.close()
    return file


def _run(
    words: Sequence[str], env: dict[str, str], folder: Path, ends: Sequence[Connection]
) -> None:
    """Be the program."""
    os.environ.clear()
    os.environ.update(env)
    os.chdir(folder)
    for end, number in zip(ends, (1, 2, 0), strict=False):
        os.dup2(end.fileno(), number)
        end.close()
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(  # noqa: SIM115
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    if words[0] == sys.executable:
        _, _, code, *arguments = words
        sys.argv = ["-c", *arguments]
        exec(code, {"__name__": "__main__"})
        return
    sys.argv = words
    from moa_graph.cli import main  # noqa: PLC0415  # an extra

    main()
