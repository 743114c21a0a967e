"""A far line: passes TCP on after a delay in each direction, whatever is under way meanwhile.

usage: delay_proxy.py LISTEN_PORT TARGET_HOST TARGET_PORT SECONDS
"""

import asyncio
import sys


async def pass_on(reader, writer, delay):
    loop = asyncio.get_running_loop()
    waiting = asyncio.Queue(256)

    async def deliver():
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(max(0.0, due - loop.time()))
            if not data:
                break
            writer.write(data)
            await writer.drain()
        writer.close()

    delivery = asyncio.create_task(deliver())
    try:
        while data := await reader.read(65536):
            await waiting.put((loop.time() + delay, data))
    except OSError:
        pass
    await waiting.put((loop.time() + delay, b""))
    try:
        await delivery
    except OSError:
        pass


async def serve(reader, writer, host, port, delay):
    try:
        far_reader, far_writer = await asyncio.open_connection(host, port)
    except OSError:
        writer.close()
        return
    await asyncio.gather(pass_on(reader, far_writer, delay), pass_on(far_reader, writer, delay))


async def main():
    port, host, target, delay = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    server = await asyncio.start_server(lambda r, w: serve(r, w, host, target, delay), None, port)
    print("passing on", flush=True)
    async with server:
        await server.serve_forever()


asyncio.run(main())
