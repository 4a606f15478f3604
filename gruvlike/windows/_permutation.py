"""A random order of very many numbers that is computed, not stored."""

import numpy as np

_ROUNDS = 6


def permuted(index: np.ndarray, size: int, key: tuple[int, ...]) -> np.ndarray:
    """Maps each index in [0, size) to its place in a random order, without storing that order.

    A Feistel network permutes the numbers of 2k bits. A number that falls outside [0, size) is sent through the network
    again until it falls inside, so that the whole stays a permutation.

    Args:
        index: Integers in [0, size), of shape (n,).
        size: How many numbers the order holds.
        key: Integers; each key gives another order.

    Returns:
        An int64 array of shape (n,).

    Example:
        >>> sorted(permuted(np.arange(7), 7, (0, 0)).tolist())
        [0, 1, 2, 3, 4, 5, 6]

    References:
        J. Black and P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002 (cycle walking).
    """
    bits = np.uint64(max(1, (int(size - 1).bit_length() + 1) // 2))
    mask = np.uint64((1 << int(bits)) - 1)
    keys = np.random.SeedSequence((*key, 1)).generate_state(_ROUNDS, np.uint64)
    numbers = index.astype(np.uint64)
    outside = np.ones(len(numbers), bool)
    while outside.any():
        left, right = numbers[outside] >> bits, numbers[outside] & mask
        for round_key in keys:
            left, right = right, left ^ (_scrambled(right + round_key) & mask)
        numbers[outside] = (left << bits) | right
        outside = numbers >= size
    return numbers.astype(np.int64)


def _scrambled(numbers: np.ndarray) -> np.ndarray:
    """Returns numbers of which every bit depends on every bit of the input: the finalizer of SplitMix64."""
    numbers = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    numbers = (numbers ^ (numbers >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return numbers ^ (numbers >> np.uint64(31))
