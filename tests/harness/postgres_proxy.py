"""A proxy before a PostgreSQL server: it passes everything on, until it cuts or stalls."""

import socket
import threading
from contextlib import suppress
from pathlib import Path
from typing import Self

from psycopg.conninfo import conninfo_to_dict

BLOCK = 65536


class PostgresProxy:
    """It listens on loopback; the server on a socket in the file system.

    `cut` closes all connections and takes no other. `stall` keeps them open, takes others, and
    passes nothing on any more, as a network does that lost the server: nobody hangs up.
    """

    def __init__(self, server: Path) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._pairs: list[socket.socket] = []
        self._stalled = False
        self._lock = threading.Lock()

    def address(self, server_address: str) -> str:
        """Give the address of a database behind the proxy."""
        port = self._listener.getsockname()[1]
        parts = conninfo_to_dict(server_address)
        return f"postgresql://{parts['user']}@127.0.0.1:{port}/{parts['dbname']}"

    def cut(self) -> None:
        """Close all connections."""
        with self._lock:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._close_pairs()

    def stall(self) -> None:
        """Pass nothing on any more."""
        self._stalled = True

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                with suppress(OSError):
                    server.connect(str(self._server))
                with self._lock:
                    self._pairs += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(
                        target=self._pass_on, args=[source, target], daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(BLOCK):
                if self._stalled:
                    continue
                target.sendall(data)
        if not self._stalled:
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)

    def _close_pairs(self) -> None:
        for each in self._pairs:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._pairs.clear()
