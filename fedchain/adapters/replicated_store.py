"""One store made of several: what is put is confirmed by a quorum of them, what is read comes from whichever has it.

Of the replicas that are written to, q must confirm each artifact. So where fewer than q of them are silent, what none
of the others has is nowhere; where more are, nobody can say. A replica that dawdles counts as one that fails: it gets
`patience_s`, and a second for each chunk. One that gave no answer rests for a while, so that its deadline is not
waited for again and again; `repair` in fedchain.workflow.replication gives it what it missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeAlias, TypeVar

from fedchain.adapters.feed import SECONDS_A_CHUNK, Feed
from fedchain.core.cid import BytesLike, Cid, cut
from fedchain.core.errors import FedchainError, InputError, IntegrityError, MissingArtifactError, UnreachableError
from fedchain.ports.store import Replica

T = TypeVar("T")
Fault: TypeAlias = tuple[Replica, FedchainError]
_REST_S: Final = 30.0
_FAULTS: Final = (InputError, IntegrityError, UnreachableError)


class ReplicatedStore:
    """An ArtifactStore over `replicas`, asked in their order."""

    def __init__(self, replicas: Sequence[Replica], quorum: int, patience_s: float) -> None:
        self._replicas = tuple(replicas)
        self._written = tuple(each for each in replicas if each.is_written)
        self._quorum = quorum
        self._patience_s = patience_s
        self._rests_until: dict[str, float] = {}

    def put(self, data: BytesLike) -> Cid:
        """See ArtifactStore."""
        return self.put_stream([data])

    def put_stream(self, parts: Iterable[BytesLike]) -> Cid:
        """See ArtifactStore. Every replica that is not given up has been waited for when this returns.

        Raises:
            UnreachableError: if fewer than the quorum confirm; InputError if all the others have no room or refuse us.
        """
        awake = [each for each in self._written if not self._is_resting(each)]
        chosen = awake if len(awake) >= self._quorum else self._written
        feeds = [Feed(each.store.put_stream, self._patience_s) for each in chosen]
        try:
            for chunk in cut(parts):
                data = bytes(chunk)
                for feed in feeds:
                    feed.offer(data)
            for feed in feeds:
                feed.offer(None)
        except BaseException:
            for feed in feeds:
                feed.break_off()
            raise
        return self._confirmed(chosen, feeds)

    def get(self, cid: Cid) -> bytes:
        """See ArtifactStore."""
        return b"".join(self.chunks(cid))

    def chunks(self, cid: Cid) -> Iterator[bytes]:
        """See ArtifactStore. Where a replica fails in the middle, the next one goes on from there."""
        given = 0
        faults: list[Fault] = []
        for replica in sorted(self._replicas, key=self._is_resting):
            try:
                for number, chunk in enumerate(self._in_time(replica, cid)):
                    if number == given:
                        given += 1
                        yield chunk
            except _FAULTS as error:
                faults.append(self._noted(replica, error))
            else:
                return
        raise self._lost(cid, faults)

    def has(self, cid: Cid) -> bool:
        """See ArtifactStore.

        Raises:
            UnreachableError: if none says yes, and too few answer to know that it is nowhere.
        """
        answers, faults = self._asked(lambda replica: replica.store.has(cid))
        if not any(answers):
            self._require_enough(faults)
        return any(answers)

    def cids(self) -> Iterator[Cid]:
        """See ArtifactStore.

        Raises:
            UnreachableError: if too few replicas answer to know them all.
        """
        answers, faults = self._asked(lambda replica: tuple(replica.store.cids()))
        self._require_enough(faults)
        yield from dict.fromkeys(cid for each in answers for cid in each)

    def remove(self, cid: Cid) -> None:
        """See ArtifactStore. Every replica is tried.

        Raises:
            UnreachableError: if one did not do it.
        """

        def removed(replica: Replica) -> None:
            replica.store.remove(cid)

        _, faults = self._asked(removed)
        if faults:
            raise UnreachableError(
                f"artifact {cid} is not removed everywhere", got=_words(faults), remedy="repeat it when they answer"
            )

    def _confirmed(self, chosen: Sequence[Replica], feeds: Sequence[Feed]) -> Cid:
        deadline = time.monotonic() + max(feed.left_s for feed in feeds)
        roots: list[Cid] = []
        faults: list[Fault] = []
        for replica, feed in zip(chosen, feeds, strict=True):
            try:
                roots.append(feed.result(deadline - time.monotonic()))
            except _FAULTS as error:
                faults.append(self._noted(replica, error))
        if len(roots) < self._quorum:
            kind = InputError if all(isinstance(error, InputError) for _, error in faults) else UnreachableError
            raise kind(
                "too few replicas of the store confirm", expected=f"{self._quorum} of {len(self._written)}",
                got=f"{len(roots)}: {_words(faults)}", remedy="repeat it when they answer",
            )  # fmt: skip
        return roots[0]

    def _in_time(self, replica: Replica, cid: Cid) -> Iterator[bytes]:
        """Yield the chunks of one replica, as long as waiting for them takes no longer than it may."""
        left_s = self._patience_s
        before = time.monotonic()
        for chunk in replica.store.chunks(cid):
            left_s += SECONDS_A_CHUNK - (time.monotonic() - before)
            if left_s < 0:
                raise UnreachableError(f"{replica.name} is too slow", expected="a chunk a second", got="less")
            yield chunk
            before = time.monotonic()

    def _asked(self, ask: Callable[[Replica], T]) -> tuple[list[T], list[Fault]]:
        answers: list[T] = []
        faults: list[Fault] = []
        for replica in self._replicas:
            try:
                answers.append(ask(replica))
            except _FAULTS as error:
                faults.append(self._noted(replica, error))
        return answers, faults

    def _require_enough(self, faults: Sequence[Fault]) -> None:
        """Raise UnreachableError if, for all that the others say, a silent replica may have an artifact alone."""
        silent = [each for each in faults if _is_silent(each)]
        written = sum(replica.is_written for replica, _ in silent)
        if written >= self._quorum or written < len(silent):
            raise UnreachableError("too few replicas of the store answer", got=_words(silent))

    def _lost(self, cid: Cid, faults: Sequence[Fault]) -> FedchainError:
        damaged = next((error for _, error in faults if isinstance(error, IntegrityError)), None)
        if damaged is not None and not any(_is_silent(each) for each in faults):
            return damaged
        self._require_enough(faults)
        return damaged or MissingArtifactError(
            f"artifact {cid} is in no replica of the store", got=_words(faults), remedy="put it there from another copy"
        )

    def _noted(self, replica: Replica, error: FedchainError) -> Fault:
        if isinstance(error, UnreachableError):
            self._rests_until[replica.name] = time.monotonic() + _REST_S
        return replica, error

    def _is_resting(self, replica: Replica) -> bool:
        return time.monotonic() < self._rests_until.get(replica.name, 0.0)


def _is_silent(fault: Fault) -> bool:
    """Tell whether a replica may have what it did not give."""
    return not isinstance(fault[1], MissingArtifactError | IntegrityError)


def _words(faults: Sequence[Fault]) -> str:
    return "; ".join(f"{replica.name}: {error.what}" for replica, error in faults) or "none asked"
