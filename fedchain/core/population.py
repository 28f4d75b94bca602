"""A population: many clients that one site answers for, registered by the root of one Merkle tree.

The dataset that the site registers is the roster: its root, how many clients there are and their rows. Whom a round
draws is a function of run and round, so the site does not pick. The site's update has the update of each of them,
beside where it stands in the roster; what enters the model is their mean, weighted by the registered rows and rounded
once.

The tree is that of RFC 6962, section 2.1, over 2^d entries, the least power of two that holds all clients; an entry
is the client's number, its rows and a 32-byte commitment to them, and what lies behind the last client is empty.
Clients of a population have no keys: their site's signature stands for all of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from fedchain.core.aggregation import MAX_TOTAL_WEIGHT, divide_half_even
from fedchain.core.digest import DIGEST_SIZE, ZERO, Digest, commitment, tagged
from fedchain.core.errors import FormatError, IntegrityError
from fedchain.core.history_tree import check_inclusion, entry_hash
from fedchain.core.policy import DatasetCard
from fedchain.core.rejection import Reason
from fedchain.core.tensors import IntTensors, TensorSchema

PREFIX: Final = "population/"
"""What the names of the tensors begin with that say who was drawn; no tensor of a model may begin so."""
CLIENTS: Final = PREFIX + "clients"
ROWS: Final = PREFIX + "rows"
COMMITMENTS: Final = PREFIX + "commitments"
PATHS: Final = PREFIX + "paths"
MOST_CLIENTS: Final = 1 << 24
"""A roster of as many takes half a gigabyte while its tree is made."""
_WORDS: Final = DIGEST_SIZE // 4
_BLOCK: Final = 1 << 15
_EMPTY: Final = entry_hash(b"")


@dataclass(frozen=True, slots=True)
class Roster:
    """The clients of a population: 2 to 2^24 of them, `drawn` a round.

    `least_rows` are the rows of the smallest client: with differential privacy all sample as if they had so many.
    """

    root: bytes
    clients: int
    drawn: int
    least_rows: int

    def __post_init__(self) -> None:
        if len(self.root) != DIGEST_SIZE or not 2 <= self.clients <= MOST_CLIENTS:
            raise FormatError("roster", expected=f"a root and 2..{MOST_CLIENTS} clients", got=self.clients)
        if not 1 <= self.drawn <= self.clients or not 1 <= self.least_rows <= MAX_TOTAL_WEIGHT:
            got = f"{self.drawn} drawn of {self.clients}, {self.least_rows} rows"
            raise FormatError("roster", expected="1 to all of its clients drawn, at least 1 row each", got=got)

    @property
    def depth(self) -> int:
        """Nodes between an entry and the root."""
        return (self.clients - 1).bit_length()


@dataclass(frozen=True, slots=True)
class RosterOpening:
    """What opens a registered dataset that is a roster: the name on its card, and the salt of its commitment."""

    name: str
    salt: bytes
    roster: Roster

    def dataset(self, nominal_size: int) -> Digest:
        """Return the commitment that this opens, of a roster with so many rows in all."""
        return commitment("dataset-commit", self.salt, roster_card(self.name, self.roster, nominal_size).digest())


def roster_card(name: str, roster: Roster, nominal_size: int) -> DatasetCard:
    """Return the card of a dataset that is a roster. How many are drawn is a run's own choice and not on it."""
    facts = {"roster": roster.root.hex(), "clients": str(roster.clients), "least_rows": str(roster.least_rows)}
    return DatasetCard(name, facts, nominal_size)


class RosterTree:
    """The tree over all clients, kept whole: 64 bytes a client. Client i has `rows[i]` rows."""

    def __init__(self, rows: npt.NDArray[np.int32], commitments: Sequence[Digest] | None = None) -> None:
        self._rows, self._commitments = rows, commitments
        clients = len(rows)
        level = bytearray(_EMPTY * (1 << (clients - 1).bit_length()))
        for client, size in enumerate(rows.tolist()):
            leaf = entry_hash(entry(client, size, self.committed(client)))
            level[client * DIGEST_SIZE : (client + 1) * DIGEST_SIZE] = leaf
        self._levels = [bytes(level)]
        while len(self._levels[-1]) > DIGEST_SIZE:
            self._levels.append(_above(self._levels[-1]))

    @property
    def root(self) -> Digest:
        """The root."""
        return self._levels[-1]

    def rows(self, client: int) -> int:
        """Return the registered rows of a client."""
        return int(self._rows[client])

    def committed(self, client: int) -> Digest:
        """Return what a client's rows are committed by; zero says nothing about them."""
        return ZERO if self._commitments is None else self._commitments[client]

    def path(self, client: int) -> bytes:
        """Return the siblings from a client's entry to the root, bottom first, 32 bytes each."""
        nodes = [(level, (client >> height) ^ 1) for height, level in enumerate(self._levels[:-1])]
        return b"".join(level[node * DIGEST_SIZE : (node + 1) * DIGEST_SIZE] for level, node in nodes)

    def openings(self, clients: Sequence[int]) -> IntTensors:
        """Return the tensors that say who the clients are and where they stand; see `checked`."""
        commitments = b"".join(map(self.committed, clients))
        paths = b"".join(map(self.path, clients))
        return {
            CLIENTS: np.array(clients, "<i4"),
            ROWS: np.ascontiguousarray(self._rows[list(clients)], "<i4"),
            COMMITMENTS: np.frombuffer(commitments, "<i4").reshape(len(clients), _WORDS),
            PATHS: np.frombuffer(paths, "<i4").reshape(len(clients), len(self._levels) - 1, _WORDS),
        }


def entry(client: int, rows: int, committed: Digest) -> bytes:
    """Return the entry of a client in the roster: 8 bytes number, 4 bytes rows, 32 bytes commitment."""
    return client.to_bytes(8, "big") + rows.to_bytes(4, "big") + committed


def drawn(run: bytes, round_: int, roster: Roster) -> tuple[int, ...]:
    """Return the clients of a round, ascending.

    Word j is the first 8 bytes of tagged("population-draw", run || round || j), numbers of 8 bytes. Words from the
    largest multiple of the number of clients on are passed over, the others taken modulo that number, and each client
    counts once, until there are enough. So each set of clients is as likely as any other (over the run's salt).
    """
    if roster.drawn == roster.clients:
        return tuple(range(roster.clients))
    place = run + round_.to_bytes(8, "big")
    limit = (1 << 64) - (1 << 64) % roster.clients
    found, number = set[int](), 0
    while len(found) < roster.drawn:
        word = int.from_bytes(tagged("population-draw", place, number.to_bytes(8, "big"))[:8], "big")
        number += 1
        if word < limit:
            found.add(word % roster.clients)
    return tuple(sorted(found))


def schema_with(schema: TensorSchema, roster: Roster) -> TensorSchema:
    """Return the tensors that an update of a population has: each of the model's by client, and who they are."""
    count = roster.drawn
    shapes = {name: (count, *shape) for name, shape in zip(schema.names, schema.shapes, strict=True)}
    shapes |= {CLIENTS: (count,), ROWS: (count,), COMMITMENTS: (count, _WORDS), PATHS: (count, roster.depth, _WORDS)}
    names = tuple(sorted(shapes, key=str.encode))
    return TensorSchema(names, tuple(shapes[name] for name in names))


def checked(tensors: IntTensors, roster: Roster, run: bytes, round_: int) -> IntTensors | Reason:
    """Return the mean of an update that has the tensors of `schema_with`, or why it is refused.

    Its clients must be those that the round draws, each in the roster with these rows, which are not below the least.
    """
    if tuple(tensors[CLIENTS].tolist()) != drawn(run, round_, roster):
        return Reason.OTHER_CLIENTS
    commitments, paths = _digests(tensors[COMMITMENTS]), _digests(tensors[PATHS])
    depth, size = roster.depth, 1 << roster.depth
    for place, (client, rows) in enumerate(zip(tensors[CLIENTS].tolist(), tensors[ROWS].tolist(), strict=True)):
        if rows < roster.least_rows:
            return Reason.OTHER_CLIENTS
        leaf = entry_hash(entry(client, rows, commitments[place]))
        try:
            check_inclusion(leaf, client, size, roster.root, paths[place * depth : (place + 1) * depth])
        except IntegrityError:
            return Reason.OTHER_CLIENTS
    if int(tensors[ROWS].sum(dtype=np.int64)) > MAX_TOTAL_WEIGHT:
        return Reason.OTHER_WEIGHT
    return one_update(tensors)


def one_update(tensors: IntTensors) -> IntTensors:
    """Return what enters the model: of a population the weighted mean of its clients, else the update itself.

    Mean: round_half_even(sum(rows_i q_i) / sum(rows_i)), in integers.
    """
    if CLIENTS not in tensors:
        return tensors
    weights = tensors[ROWS].astype(np.int64)
    return {name: _mean(array, weights) for name, array in tensors.items() if not name.startswith(PREFIX)}


def _mean(stacked: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    flat, total = stacked.reshape(len(weights), -1), int(weights.sum())
    mean = np.empty(flat.shape[1], "<i4")
    are_equal = bool((weights == weights[0]).all())
    for start in range(0, flat.shape[1], _BLOCK):
        part = flat[:, start : start + _BLOCK]
        if are_equal:  # the weight cancels out of numerator and divisor, and leaves the quotient and its ties
            mean[start : start + _BLOCK] = divide_half_even(part.sum(axis=0, dtype=np.int64), len(weights))
        else:
            mean[start : start + _BLOCK] = divide_half_even(_weighted(part, weights), total)
    return mean.reshape(stacked.shape[1:])


def _weighted(part: npt.NDArray[np.int32], weights: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    total = np.zeros(part.shape[1], np.int64)
    for row, weight in zip(part, weights, strict=True):
        total += row * weight
    return total


def _above(level: bytes) -> bytes:
    """Return the nodes over a level's pairs."""
    step = 2 * DIGEST_SIZE
    pairs = (level[start : start + step] for start in range(0, len(level), step))
    return b"".join(hashlib.sha256(b"\x01" + pair).digest() for pair in pairs)


def _digests(words: npt.NDArray[np.int32]) -> list[Digest]:
    data = words.astype("<i4", copy=False).tobytes()
    return [data[start : start + DIGEST_SIZE] for start in range(0, len(data), DIGEST_SIZE)]
