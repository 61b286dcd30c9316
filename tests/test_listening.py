"""The socket that `serve` listens on."""

import socket
import threading

from certwright.local.server import listen
from certwright.local.test_ca import free_port


def test_answers_are_sent_without_waiting_for_acknowledgements() -> None:
    port = free_port()
    accepted: list[socket.socket] = []
    with listen("127.0.0.1", port) as listener:
        thread = threading.Thread(target=lambda: accepted.append(listener.accept()[0]))
        thread.start()
        with socket.create_connection(("127.0.0.1", port), timeout=5):
            thread.join(5)
            [connection] = accepted
            with connection:
                assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
