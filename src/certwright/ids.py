"""Time-ordered ids (ULID): 48 bits of milliseconds and 80 of randomness, 26 characters that sort as they were made."""

import threading
from collections.abc import Callable
from datetime import datetime

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80


class Ulids:
    """Makes ids. Within one millisecond, and when the clock steps back, the last id is counted up, so order holds."""

    def __init__(self, clock: Callable[[], datetime], random_bits: Callable[[int], int]) -> None:
        self._clock = clock
        self._random_bits = random_bits
        self._last = 0
        self._lock = threading.Lock()

    def __call__(self) -> str:
        milliseconds = int(self._clock().timestamp() * 1000)
        fresh = milliseconds << _RANDOM_BITS | self._random_bits(_RANDOM_BITS)
        with self._lock:
            self._last = fresh if fresh >> _RANDOM_BITS > self._last >> _RANDOM_BITS else self._last + 1
            number = self._last
        return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))
