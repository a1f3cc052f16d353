"""A program `moa` for the lines of a shell: it has a fork do the work, on its own streams."""

import json
import socket
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Thread

from forked import fork

PROGRAM = """#!{python} -IS
import json, os, socket, sys

with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    told = json.dumps([sys.argv, dict(os.environ), os.getcwd()]).encode()
    socket.send_fds(asked, [len(told).to_bytes(8, "big")], [1, 2, 0])
    asked.sendall(told)
    sys.exit(int(asked.recv(16)))
"""


@contextmanager
def moa_for_shells() -> Iterator[str]:
    """Give a folder with the program, for `PATH`."""
    with tempfile.TemporaryDirectory(prefix="moa") as folder, socket.socket(socket.AF_UNIX) as own:
        address, program = f"{folder}/socket", Path(folder, "moa")
        program.write_text(PROGRAM.format(python=sys.executable, address=address))
        program.chmod(0o700)
        own.bind(address)
        own.listen()
        thread = Thread(target=_answer_all, args=[own])
        thread.start()
        try:
            yield folder
        finally:
            own.shutdown(socket.SHUT_RDWR)
            thread.join()


def _answer_all(own: socket.socket) -> None:
    with ThreadPoolExecutor() as pool:
        while True:
            try:
                asking, _ = own.accept()
            except OSError:  # it was shut down
                return
            pool.submit(_answer, asking)


def _answer(asking: socket.socket) -> None:
    """Run what is asked for, and tell its exit code."""
    with asking:
        head, streams, *_ = socket.recv_fds(asking, 8, 3)
        with asking.makefile("rb") as told:
            words, env, folder = json.loads(told.read(int.from_bytes(head, "big")))
        process = fork(words, env, Path(folder), [Connection(each) for each in streams])
        process.join()
        asking.sendall(str(process.exitcode).encode())
