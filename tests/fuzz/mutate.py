"""Changes made to inputs by chance: knows nothing of what it changes but the words of its target."""

from __future__ import annotations

import random
from collections.abc import Sequence

_BOUNDARIES = [0, 1, 2, 3, 7, 8, 15, 16, 63, 64, 127, 128, 253, 254, 255]
_LARGEST = 1 << 16
"""Bytes of a mutated input: what is larger costs time and finds little more."""


class Mutator:
    """Makes new inputs out of a pool. The same seed makes the same inputs."""

    def __init__(self, words: Sequence[bytes], seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = [*words, b"\r\n", b"\0", b"\xff\xfe"]

    def mutated(self, pool: Sequence[bytes]) -> bytes:
        """One of the pool, changed at one to eight places."""
        chance = self._chance
        data = bytearray(chance.choice(pool) if pool else b"")
        for _ in range(chance.choice((1, 1, 2, 2, 3, 5, 8))):
            self._change(data, pool)
        return bytes(data[:_LARGEST])

    def _change(self, data: bytearray, pool: Sequence[bytes]) -> None:
        chance = self._chance
        start = chance.randrange(len(data) + 1)
        stop = min(len(data), start + chance.choice((1, 1, 2, 4, 16, 200)))
        match chance.randrange(10):
            case 0 | 1 if data:
                data[start % len(data)] = chance.choice(_BOUNDARIES)
            case 2 if data:
                data[start % len(data)] ^= 1 << chance.randrange(8)
            case 3:
                del data[start:stop]
            case 4:
                data[start:start] = data[start:stop] * chance.choice((1, 2, 50))
            case 5 | 6:
                data[start:start] = chance.choice(self._words)
            case 7:
                data[start:stop] = chance.choice(self._words)
            case 8 if pool:
                other = chance.choice(pool)
                at = chance.randrange(len(other) + 1)
                data[start:] = other[at:]
            case _:
                data[start:start] = chance.randbytes(chance.choice((1, 2, 4, 30)))
