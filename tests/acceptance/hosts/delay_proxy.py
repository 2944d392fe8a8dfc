"""Delays bytes in both directions: `delay_proxy.py PORT HOST PORT SECONDS`, on loopback of the host that it runs on.

It stands in for netem where the kernel has none. A delay does not change the order or the rate of the bytes.
"""

import asyncio
import sys
from contextlib import suppress

CHUNK = 1 << 16


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, seconds: float) -> None:
    """Pass bytes on, each `seconds` after it came."""
    loop, waiting = asyncio.get_running_loop(), asyncio.Queue[tuple[float, bytes]]()

    async def read() -> None:
        while True:
            data = await reader.read(CHUNK)
            await waiting.put((loop.time() + seconds, data))
            if not data:
                return

    reading = asyncio.create_task(read())
    with suppress(ConnectionError):
        while (found := await waiting.get())[1]:
            await asyncio.sleep(found[0] - loop.time())
            writer.write(found[1])
            await writer.drain()
    reading.cancel()
    writer.close()


async def main(port: int, host: str, to: int, seconds: float) -> None:
    """Serve until it is killed."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            ahead, back = await asyncio.open_connection(host, to)
            await asyncio.gather(pump(reader, back, seconds), pump(ahead, writer, seconds), return_exceptions=True)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
