"""How this process keeps WebSockets: many, and a client that does not read is dropped, whatever it is being sent."""

import asyncio
import resource

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol


def allow_many_sockets() -> None:
    """Have as many files open as the system lets us: by default it lets a process ask for more than the usual 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def socket_protocol(stall_seconds: float) -> type[WebSocketsSansIOProtocol]:
    """uvicorn's protocol, which waits for a client to read for ever: even closing waits for what is still to be sent.

    Nothing is kept here beyond what the system's own buffers take. Once those are full, whoever sends waits, and the
    client has `stall_seconds` to read again.
    """

    class SocketProtocol(WebSocketsSansIOProtocol):
        _stalled: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            self.transport.set_write_buffer_limits(high=0)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(stall_seconds, self.transport.abort)

        def resume_writing(self) -> None:
            super().resume_writing()
            self._end_stall()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self._end_stall()

        def _end_stall(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

    return SocketProtocol
