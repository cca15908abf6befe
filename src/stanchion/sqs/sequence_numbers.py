"""Sequence numbers of FIFO messages, as clients see them: 20 digits that only grow.

The store's numbers are never given out twice and fit into 63 bits; a fixed offset gives them all
the same number of digits, so that they are in order as text too.
"""

_OFFSET = 10**19


def sequence_number_of(sequence: int) -> str:
    return str(_OFFSET + sequence)
