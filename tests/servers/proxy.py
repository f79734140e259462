"""A TCP proxy in front of a server, which can break connections, and speak TLS for a server that cannot."""

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Proxy:
    """Forwards connections to a port of the loopback interface.

    Where `bytes_left` is a number, it breaks the connection that would forward more than that many bytes, counted
    over all connections and in both directions, and every one after that.
    """

    port: int

    def __init__(self, target: int) -> None:
        self.bytes_left: int | None = None
        self._target = target

    async def listen(self, context: ssl.SSLContext | None) -> asyncio.Server:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _serve(self, near_reader: asyncio.StreamReader, near_writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        ends = (near_writer, far_writer)
        await asyncio.gather(
            self._forward(near_reader, far_writer, ends), self._forward(far_reader, near_writer, ends)
        )

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, ends: tuple[asyncio.StreamWriter, ...]
    ) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if self.bytes_left is not None:
                    data = data[: self.bytes_left]
                    self.bytes_left -= len(data)
                writer.write(data)
                await writer.drain()
                if self.bytes_left == 0:
                    break
        for end in ends:
            end.close()


@contextmanager
def run_proxy(target: int, context: ssl.SSLContext | None = None) -> Iterator[Proxy]:
    """Listen on a free port, with TLS if there is a `context`; in the end all connections are broken."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    proxy = Proxy(target)
    try:
        server = asyncio.run_coroutine_threadsafe(proxy.listen(context), loop).result()
        yield proxy
        loop.call_soon_threadsafe(server.close)
        asyncio.run_coroutine_threadsafe(_cancel_others(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _cancel_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
