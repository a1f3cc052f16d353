"""A connection between a client and a server that a test can break."""

import asyncio
import threading
from contextlib import contextmanager, suppress


class Relay:
    """Forwards bytes to a server; `port` is the relay's own port."""

    def __init__(self, port):
        self._target, self._writers, self._is_broken = port, set(), False
        self._is_ready = threading.Event()

    @contextmanager
    def running(self):
        """Listen in a separate thread."""
        thread = threading.Thread(target=asyncio.run, args=(self._serve(),))
        thread.start()
        self._is_ready.wait()
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(self._is_over.set)
            thread.join()

    async def _serve(self):
        self._loop, self._is_over = asyncio.get_running_loop(), asyncio.Event()
        async with await asyncio.start_server(self._pass_on, "127.0.0.1", 0) as server:
            self.port = server.sockets[0].getsockname()[1]
            self._is_ready.set()
            await self._is_over.wait()
            self._break()

    def break_connections(self):
        """End all connections, and refuse others until `mend`."""
        self._loop.call_soon_threadsafe(self._break)

    def mend(self):
        """Take connections again."""
        self._is_broken = False

    def _break(self):
        self._is_broken = True
        for writer in self._writers:
            writer.transport.abort()

    async def _pass_on(self, reader, writer):
        if self._is_broken:
            writer.transport.abort()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, back}
        await asyncio.gather(_copy(reader, back), _copy(there, writer))
        self._writers -= {writer, back}


async def _copy(reader, writer):
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()
