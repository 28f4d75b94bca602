"""Several JSON-RPC endpoints as one web3.py provider: a quorum of them must say the same, and none may hold us up.

Each request goes to all healthy endpoints at once. Tags like "latest" mean another block at each of them, so they are
replaced by the highest block that a quorum has. What fails is asked again, with growing pauses, until the patience
ends; what differs is asked again for a short while, because nodes learn of blocks at different moments, and is then an
error that names who said what. Off-chain lookups are off.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol, cast

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from fedchain.adapters.evm.agreement import agreed, shown
from fedchain.adapters.evm.answers import warn
from fedchain.adapters.evm.http_endpoint import EndpointError
from fedchain.adapters.evm.waiting import Deadline, Stopwatch, SystemStopwatch
from fedchain.core.errors import InputError, IntegrityError, UnreachableError

_SEND: Final = "eth_sendRawTransaction"
_MAY_BE_NULL: Final = frozenset({"eth_getTransactionReceipt", "eth_getTransactionByHash"})
_TAGGED: Final[Mapping[str, int]] = {
    "eth_getBlockByNumber": 0,
    "eth_call": 1,
    "eth_getBalance": 1,
    "eth_getCode": 1,
    "eth_getTransactionCount": 1,
    "eth_getProof": 2,
    "eth_getStorageAt": 2,
}
_FIRST_PAUSE_S: Final = 0.1
_LONGEST_PAUSE_S: Final = 5.0
_GRACE_S: Final = 0.25
"""How long the rest may take to be compared once a quorum agrees; who is slower is not asked for a while."""


class Endpoint(Protocol):
    """A node that takes JSON-RPC requests."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    def ask(self, body: bytes, timeout_s: float) -> Any:  # noqa: ANN401  # a node may answer anything
        """Return the response, or raise EndpointError."""
        ...


@dataclass(frozen=True, slots=True)
class QuorumRules:
    """How many must agree, on which chain; times in seconds, `most_lag` in blocks."""

    chain_id: int
    quorum: int = 1
    request_timeout_s: float = 10.0
    patience_s: float = 120.0
    settle_s: float = 5.0
    most_lag: int = 3


@dataclass(slots=True)
class _Health:
    is_checked: bool = False
    failures: int = 0
    resting_until: float = 0.0
    serves: int | None = None
    told: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Replies:
    """What came of one request, by the names of the endpoints."""

    answers: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class QuorumProvider(JSONBaseProvider):
    """The endpoints that a federation reads and writes its ledger through. Threads may share it."""

    # Off-chain lookups (EIP-3668) would let a contract make this process call any URL.
    global_ccip_read_enabled: ClassVar[bool] = False  # type: ignore[misc]  # web3 declares it per instance

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        rules: QuorumRules,
        *,
        stopwatch: Stopwatch | None = None,
        say: Callable[[str], None] = warn,
    ) -> None:
        super().__init__()
        count, names = len(endpoints), {each.name for each in endpoints}
        is_majority = rules.quorum == 1 <= count or count / 2 < rules.quorum <= count
        if len(names) < count or not is_majority:
            raise InputError(
                "ledger endpoints",
                expected="different ones, and as quorum 1 or a majority of them",
                got=f"{count} with a quorum of {rules.quorum}",
            )
        self._endpoints = {each.name: each for each in endpoints}
        self._health = {each.name: _Health() for each in endpoints}
        self._rules = rules
        self._stopwatch = stopwatch or SystemStopwatch()
        self._say = say
        self._behind: frozenset[str] = frozenset()
        self._compared = -1

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:  # noqa: ANN401  # web3's signature
        """Return what a quorum answers.

        Raises:
            IntegrityError: if the endpoints contradict each other; it names them.
            InputError: if too many of them serve another chain.
            UnreachableError: if too few answer, until the patience ends.
        """
        if self._rules.quorum > 1:
            params = self._pinned(method, list(params or []))
        return cast("RPCResponse", self._agreed(method, params))

    def _agreed(self, method: str, params: Any) -> Any:  # noqa: ANN401  # JSON
        deadline = Deadline(self._stopwatch, self._rules.patience_s)
        settling: Deadline | None = None
        pause = _FIRST_PAUSE_S
        while True:
            replies = self._ask(method, params)
            found = self._taken(method, replies.answers)
            if found is not None:
                return found
            if len(replies.answers) < self._rules.quorum:
                settling = None
                if deadline.is_past():
                    raise self._unreachable(replies.failures)
            else:
                settling = settling or Deadline(self._stopwatch, self._rules.settle_s)
                if settling.is_past():
                    raise self._contradiction(method, replies.answers)
            deadline.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    def _taken(self, method: str, answers: Mapping[str, Any]) -> Any:  # noqa: ANN401  # JSON
        if method == _SEND:  # one that takes it is enough; who refuses knows it already, or comes late
            return next((a for a in answers.values() if "result" in a), next(iter(answers.values()), None))
        if self._rules.quorum == 1:
            return next(iter(answers.values()), None)
        found = agreed(method, answers, self._rules.quorum)
        if found is not None:
            answer, others = found
            for name in others:
                self._tell(name, f"disagrees with the others on {method}", shown(method, answers[name]))
            return answer
        if method in _MAY_BE_NULL and any(a.get("result") is None for a in answers.values()):
            return {"jsonrpc": "2.0", "id": 0, "result": None}  # some have it: not agreed yet is not there yet
        return None

    # heads

    def _pinned(self, method: str, params: list[Any]) -> list[Any]:
        place = _TAGGED.get(method)
        if place is not None and len(params) > place and params[place] == "latest":
            return [*params[:place], hex(self._head()), *params[place + 1 :]]
        if method == "eth_getLogs" and params[0].get("toBlock", "latest") == "latest":
            return [params[0] | {"toBlock": hex(self._head())}]
        return params

    def _head(self) -> int:
        """Return the highest block that a quorum has, and remember who is behind it."""
        deadline = Deadline(self._stopwatch, self._rules.patience_s)
        while True:
            replies = self._ask("eth_blockNumber", [], everybody=True)
            found = agreed("eth_blockNumber", replies.answers, self._rules.quorum)
            if found is not None:
                break
            if deadline.is_past():
                raise self._unreachable(replies.failures)
            deadline.wait(_FIRST_PAUSE_S)
        head = int(found[0]["result"], 16)
        behind = set()
        for name, answer in replies.answers.items():
            number = _number(answer)
            if number is None or number < head:
                behind.add(name)
            if number is None or abs(number - head) > self._rules.most_lag:
                self._tell(name, "is not where the others are", f"block {number} instead of {head}")
        self._behind = frozenset(behind)
        if head != self._compared:
            self._agreed("eth_getBlockByNumber", [hex(head), False])  # the same chain up to there, or an error
            self._compared = head
        return head

    # asking

    def _ask(self, method: str, params: Any, *, everybody: bool = False) -> _Replies:  # noqa: ANN401  # JSON
        names = self._chosen(everybody=everybody)
        if self._rules.quorum == 1 and method != _SEND:
            return self._one_by_one(names, method, params)
        return self._all_at_once(names, method, params)

    def _one_by_one(self, names: Sequence[str], method: str, params: Any) -> _Replies:  # noqa: ANN401  # JSON
        replies = _Replies()
        for name in names:
            self._take(name, self._tried(name, method, params), replies)
            if replies.answers:
                break
        return replies

    def _all_at_once(self, names: Sequence[str], method: str, params: Any) -> _Replies:  # noqa: ANN401  # JSON
        """Return what came until a quorum agreed, and a little later."""
        replies = _Replies()
        arriving: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()

        def ask(name: str) -> None:
            arriving.put((name, self._tried(name, method, params)))

        for name in names:
            threading.Thread(target=ask, args=(name,), daemon=True).start()
        for _ in names:
            is_enough = self._is_enough(method, replies.answers)
            try:
                name, reply = arriving.get(timeout=_GRACE_S if is_enough else 3 * self._rules.request_timeout_s)
            except queue.Empty:
                break
            self._take(name, reply, replies)
        for name in set(names) - set(replies.answers) - set(replies.failures):
            self._rest(name)
            replies.failures[name] = "slow"
        return replies

    def _is_enough(self, method: str, answers: Mapping[str, Any]) -> bool:
        if method == _SEND:
            return any("result" in answer for answer in answers.values())
        return agreed(method, answers, self._rules.quorum) is not None

    def _chosen(self, *, everybody: bool) -> list[str]:
        """Return whom to ask: all that serve our chain and are not resting, or more if that is less than a quorum."""
        serving = [name for name, health in self._health.items() if health.serves in (None, self._rules.chain_id)]
        if len(serving) < self._rules.quorum:
            wrong = {n: h.serves for n, h in self._health.items() if n not in serving}
            self._recheck(wrong)
            raise InputError(
                "ledger endpoint of a foreign chain",
                expected=f"chain id {self._rules.chain_id}",
                got="; ".join(f"{name} serves {chain}" for name, chain in wrong.items()),
                remedy="check the addresses",
            )
        now = self._stopwatch.now()
        ready = [name for name in serving if self._health[name].resting_until <= now]
        if not everybody:
            ready = [name for name in ready if name not in self._behind]
        return ready if len(ready) >= self._rules.quorum else serving

    def _recheck(self, names: Mapping[str, object]) -> None:
        for name in names:
            self._health[name].serves = None
            self._health[name].is_checked = False

    def _tried(self, name: str, method: str, params: Any) -> Any:  # noqa: ANN401  # JSON
        endpoint, health = self._endpoints[name], self._health[name]
        try:
            if not health.is_checked:
                body = self.encode_rpc_request(RPCEndpoint("eth_chainId"), [])
                chain = _number(endpoint.ask(body, self._rules.request_timeout_s))
                health.serves, health.is_checked = -1 if chain is None else chain, True
            if health.serves != self._rules.chain_id:
                return EndpointError(f"serves chain {health.serves} instead of {self._rules.chain_id}")
            body = self.encode_rpc_request(RPCEndpoint(method), params)
            return endpoint.ask(body, self._rules.request_timeout_s)
        except EndpointError as error:
            return error

    def _take(self, name: str, reply: Any, replies: _Replies) -> None:  # noqa: ANN401  # JSON
        health = self._health[name]
        if isinstance(reply, EndpointError):
            replies.failures[name] = str(reply)
            if health.serves != self._rules.chain_id and health.is_checked:
                self._tell(name, "is of another chain", str(reply))
            else:
                health.is_checked = False  # what comes back may be another chain
            self._rest(name)
        else:
            replies.answers[name] = reply
            health.failures, health.resting_until = 0, 0.0

    def _rest(self, name: str) -> None:
        health = self._health[name]
        health.failures += 1
        pause = min(_FIRST_PAUSE_S * 2**health.failures, 60.0)
        health.resting_until = self._stopwatch.now() + pause

    # errors

    def _tell(self, name: str, what: str, got: str) -> None:
        """Say it once of each endpoint."""
        if what not in self._health[name].told:
            self._health[name].told.add(what)
            self._say(f"ledger endpoint {name} {what}: {got}")

    def _unreachable(self, failures: Mapping[str, str]) -> UnreachableError:
        return UnreachableError(
            "ledger endpoints do not answer",
            expected=f"{self._rules.quorum} of {len(self._endpoints)} within {self._rules.patience_s:g} s",
            got="; ".join(f"{name}: {why}" for name, why in sorted(failures.items())),
            remedy="check that they run",
        )

    def _contradiction(self, method: str, answers: Mapping[str, Any]) -> IntegrityError:
        return IntegrityError(
            f"ledger endpoints contradict each other on {method}",
            expected=f"{self._rules.quorum} equal answers",
            got="; ".join(f"{name} says {shown(method, answer)}" for name, answer in sorted(answers.items())),
            remedy="find out which one lies, and replace it",
        )


def _number(answer: Any) -> int | None:  # noqa: ANN401  # a node may answer anything
    try:
        return int(answer["result"], 16)
    except (KeyError, TypeError, ValueError):
        return None
