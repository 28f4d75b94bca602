"""The few commands of the Kubo RPC that a store needs, over one node, with nothing believed that it answers.

Commands go through ipfshttpclient. What is long comes over httpx: ipfshttpclient would read any amount into memory, and
takes a stream that breaks off for a whole.
Traps: js-ipfs looks for a block that it lacks until it is told to stop; Kubo returns a damaged block as it is; both say
most things in the text of an error 500.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from typing import Any, Final, TypeVar

import httpx
from ipfshttpclient import exceptions

from fedchain.adapters.kubo.address import KuboAddress
from fedchain.adapters.kubo.client import BoundedClient
from fedchain.adapters.kubo.deadline import Deadline
from fedchain.core import json_text
from fedchain.core.cid import CHUNK_BYTES, RAW, BytesLike, Cid
from fedchain.core.dag import MOST_NODE_BYTES
from fedchain.core.errors import FedchainError, FormatError, InputError, IntegrityError, UnreachableError

T = TypeVar("T")
_FORMATS: Final = {True: "raw", False: "dag-pb"}
_MOST_LISTED_BYTES: Final = 1 << 28
"""Of a list of pins: two million of them."""
_MOST_ERROR_BYTES: Final = 1 << 12
_FULL: Final = ("no space left", "enospc", "quota exceeded", "disk full")
_FORBIDDEN: Final = frozenset({401, 403})
_ANSWERS_OTHERWISE: Final = (AssertionError, KeyError, TypeError, ValueError, AttributeError)
"""What ipfshttpclient raises where an answer has another form than it assumes."""


@dataclass(frozen=True, slots=True)
class KuboNode:
    """How one node is reached: the value of its Authorization header, and how long a request may take in all."""

    address: KuboAddress
    authorization: str | None
    timeout_s: float


class _NotPinnedError(Exception):
    """What a node says to a question about a pin that is not there."""


class KuboRpc:
    """One node's RPC.

    Every method raises UnreachableError if there is no sensible answer in time, and InputError if the node refuses the
    authorization or has no room.
    """

    def __init__(self, node: KuboNode) -> None:
        headers = {} if node.authorization is None else {"Authorization": node.authorization}
        self.name = node.address.name
        self._deadline = Deadline(node.timeout_s)
        self._opts = {"timeout": f"{0.9 * node.timeout_s:g}s", "cid-base": "base32"}
        self._client = BoundedClient(node.address.multiaddr, headers, node.timeout_s).__enter__()
        self._http = httpx.Client(
            base_url=node.address.url,
            headers=headers,
            timeout=node.timeout_s,
            trust_env=False,
            verify=node.address.url.startswith("https:"),  # else no time goes into reading certificates
        )
        weakref.finalize(self, _close, self._client, self._http)

    def version(self) -> str:
        """Return what the node says of itself."""
        return self._ask(lambda: str(self._client.version(opts=self._opts)["Version"]))[:40]

    def put_block(self, cid: Cid, block: BytesLike) -> None:
        """Have the node keep a block; it is not pinned.

        Raises:
            IntegrityError: if the node gives it another name.
        """
        opts = {**self._opts, "format": _FORMATS[cid.codec == RAW], "mhtype": "sha2-256", "version": "1"}
        key = self._ask(lambda: str(self._client.block.put(BytesIO(block), opts=opts)["Key"]))
        if key != cid.text:
            raise IntegrityError(f"{self.name} gives a block another name", expected=cid, got=key[:100])

    def block(self, cid: Cid) -> bytes:
        """Return what the node has under the name of a block, unverified.

        Raises:
            IntegrityError: if that is longer than any such block.
        """
        limit = CHUNK_BYTES if cid.codec == RAW else MOST_NODE_BYTES
        data = self._post("block/get", {"arg": cid.text}, limit + 1)
        if len(data) > limit:
            raise IntegrityError("a block is damaged", expected=f"{cid}, at most {limit} bytes", got="more")
        return data

    def remove_block(self, cid: Cid) -> None:
        """Have the node forget a block, unless something that is pinned needs it."""
        self._post("block/rm", {"arg": cid.text, "force": "true"}, _MOST_ERROR_BYTES)

    def pin(self, root: Cid) -> None:
        """Pin a tree whose blocks the node has.

        Raises:
            IntegrityError: if the node says that it pinned something else.
        """
        pins = self._ask(lambda: list(self._client.pin.add(root.text, opts=dict(self._opts))["Pins"]))
        if pins != [root.text]:
            raise IntegrityError(f"{self.name} pinned something else", expected=root, got=str(pins)[:100])

    def unpin(self, root: Cid) -> None:
        """Undo a pin, if it is there."""
        with suppress(_NotPinnedError):
            self._ask(lambda: self._client.pin.rm(root.text, opts=dict(self._opts)))

    def is_pinned(self, root: Cid) -> bool:
        """Tell whether a root is pinned recursively."""

        def listed() -> bool:
            return root.text in self._client.pin.ls(root.text, type="recursive", opts=dict(self._opts))["Keys"]

        try:
            return self._ask(listed)
        except _NotPinnedError:
            return False

    def pinned_through(self, cid: Cid) -> Cid | None:
        """Return a root that holds a block, or None if nothing does."""

        def kind() -> str:
            return str(
                next(iter(self._client.pin.ls(cid.text, type="all", opts=dict(self._opts))["Keys"].values()))["Type"]
            )

        try:
            through = self._ask(kind).rpartition(" through ")[2]
        except _NotPinnedError:
            return None
        try:
            return Cid.parse(through)
        except FormatError:  # the block is pinned itself
            return cid

    def pinned(self) -> Iterator[Cid]:
        """Yield the roots that are pinned recursively and have a name of ours."""
        answer = self._post("pin/ls", {"type": "recursive"}, _MOST_LISTED_BYTES + 1)
        if len(answer) > _MOST_LISTED_BYTES:
            raise UnreachableError(f"{self.name} lists too many pins", expected=f"{_MOST_LISTED_BYTES} bytes")
        try:
            keys = json_text.parse(answer)["Keys"]
            names = [str(name) for name in keys]
        except _ANSWERS_OTHERWISE as error:
            raise self._unreachable("an answer that is no list of pins") from error
        for name in names:
            try:
                yield Cid.parse(name)
            except FormatError:
                continue

    def _ask(self, call: Callable[[], T]) -> T:
        try:
            return self._deadline.within(call)
        except exceptions.StatusError as error:
            text = " ".join(str(error).split())
            if "not pinned" in text:
                raise _NotPinnedError from error
            raise self._refusal(_status(error.original), text) from error
        except (exceptions.Error, OSError) as error:
            raise self._unreachable(error) from error
        except _ANSWERS_OTHERWISE as error:
            raise self._unreachable("an answer of another form") from error

    def _post(self, command: str, params: Mapping[str, str], most: int) -> bytes:
        """Return at most `most` bytes of an answer."""
        query = {**self._opts, "offline": "true", **params}

        def read() -> tuple[int, bytes]:
            with self._http.stream("POST", command, params=query) as response:
                limit = most if response.status_code == 200 else _MOST_ERROR_BYTES
                data = bytearray()
                for part in response.iter_bytes():
                    data += part
                    if len(data) >= limit:
                        break
                return response.status_code, bytes(data[:limit])

        try:
            status, data = self._deadline.within(read)
        except (httpx.HTTPError, httpx.StreamError, OSError) as error:
            raise self._unreachable(error) from error
        if status != 200:
            raise self._refusal(status, _message(data))
        return data

    def _refusal(self, status: int, text: str) -> FedchainError:
        if status in _FORBIDDEN:
            return InputError(
                f"{self.name} refuses us", got=f"HTTP {status}", remedy="check the authorization file of this node"
            )
        if any(each in text.lower() for each in _FULL):
            return InputError(f"no room on {self.name}", got=text[:200], remedy="free some space there")
        return self._unreachable(f"HTTP {status}: {text}")

    def _unreachable(self, why: object) -> UnreachableError:
        reason = " ".join(str(why).split()) or type(why).__name__
        return UnreachableError(
            f"the store's node {self.name} gives no answer",
            got=reason[:200],
            remedy="check that it runs and is reached",
        )


def _message(body: bytes) -> str:
    try:
        return " ".join(str(json_text.parse(body)["Message"]).split())
    except _ANSWERS_OTHERWISE:
        return "an error without a message"


def _status(original: Any) -> int:  # noqa: ANN401  # the HTTP library's own error
    return int(getattr(getattr(original, "response", None), "status_code", 0))


def _close(client: BoundedClient, http: httpx.Client) -> None:
    client.close()
    http.close()
