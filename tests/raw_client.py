"""A client that can hang up, and a gate that keeps a model waiting meanwhile."""

import json
import socket
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

from waiting import PATIENCE


class Gate(threading.Event):
    """What a model waits for; it opens at the end of the block, whatever happens in it."""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.set()


@contextmanager
def post_raw(serving, path, body, **headers):
    """Send a request, and give the connection, which is closed at the end of the block."""
    address, data = urlsplit(serving.url), json.dumps(body)
    given = {"Host": "localhost", "Content-Type": "application/json"} | headers
    lines = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    head = f"POST {path} HTTP/1.1\r\n{lines}Content-Length: {len(data)}\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=PATIENCE) as connection:
        connection.sendall((head + data).encode())
        yield connection
