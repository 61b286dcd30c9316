"""A loop for Mangum, which runs in the thread's own: whoever calls asyncio.run in between takes that away."""

import asyncio


class Loop:
    """`use` it before each call of an http function, and `close` it at the end."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self.use()

    def use(self) -> None:
        asyncio.set_event_loop(self._loop)

    def close(self) -> None:
        self._loop.close()
        asyncio.set_event_loop(None)
