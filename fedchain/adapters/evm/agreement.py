"""When the answers of several nodes count as one: what must be equal, and which of differing numbers is taken.

Nodes of different makers add members of their own, so only what consensus fixes is compared, and only that is passed
on. With a majority as quorum a minority of liars decides nothing: an equal answer comes from at least one honest node,
and an order statistic lies between honest ones.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final

Answers = Mapping[str, Any]
"""JSON-RPC responses by the names of their endpoints."""

_LOG: Final = ("address", "topics", "data", "blockNumber", "blockHash", "transactionHash", "logIndex", "removed")
_DATED_LOG: Final = (*_LOG, "blockTimestamp")
_RECEIPT: Final = ("transactionHash", "blockHash", "blockNumber", "status", "contractAddress", "from", "to", "gasUsed")
_BLOCK: Final = (
    "hash", "parentHash", "sha3Uncles", "miner", "stateRoot", "transactionsRoot", "receiptsRoot", "logsBloom",
    "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "extraData", "mixHash", "nonce", "baseFeePerGas",
    "withdrawalsRoot", "blobGasUsed", "excessBlobGas", "parentBeaconBlockRoot", "requestsHash",
)  # fmt: skip
_TRANSACTION: Final = ("hash", "nonce", "from", "to", "input", "value")
_PROOF: Final = ("address", "accountProof", "storageProof")
_SHAPES: Final[Mapping[str, tuple[str, ...]]] = {
    "eth_getBlockByNumber": _BLOCK,
    "eth_getBlockByHash": _BLOCK,
    "eth_getTransactionByHash": _TRANSACTION,
    "eth_getTransactionReceipt": _RECEIPT,
    "eth_getProof": _PROOF,
}
_HIGHEST_SHARED: Final = frozenset({"eth_blockNumber", "eth_getTransactionCount"})
_MEDIAN: Final = frozenset({"eth_estimateGas", "eth_gasPrice", "eth_maxPriorityFeePerGas"})


def agreed(method: str, answers: Answers, quorum: int) -> tuple[Any, list[str]] | None:
    """Return the answer that at least `quorum` endpoints stand behind, and who gave another; None if there is none."""
    if method in _HIGHEST_SHARED | _MEDIAN:
        found = _number(method, answers, quorum)
        if found is not None:
            return found, []
    for has_dates in (True, False):
        groups: dict[str, list[str]] = defaultdict(list)
        for name, answer in answers.items():
            groups[_canonical(method, answer, has_dates=has_dates)].append(name)
        best = max(groups.values(), key=len, default=[])
        if len(best) >= quorum:
            # A log's date is no part of consensus: it is passed on where all of the quorum have it, and the same.
            return _shaped(method, answers[best[0]], has_dates=has_dates), sorted(set(answers) - set(best))
    return None


def shown(method: str, answer: Any) -> str:  # noqa: ANN401  # a node may answer anything
    """Return an answer in a few words, for an error."""
    text = _canonical(method, answer, has_dates=False)
    return text if len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def _number(method: str, answers: Answers, quorum: int) -> Any:  # noqa: ANN401  # a JSON-RPC response
    numbers = sorted((n for n in map(_quantity, answers.values()) if n is not None), reverse=True)
    if len(numbers) < quorum:
        return None
    number = numbers[quorum - 1] if method in _HIGHEST_SHARED else numbers[(len(numbers) - 1) // 2]
    return {"jsonrpc": "2.0", "id": 0, "result": hex(number)}


def _quantity(answer: Any) -> int | None:  # noqa: ANN401  # a node may answer anything
    try:
        return int(answer["result"], 16)
    except (KeyError, TypeError, ValueError):
        return None


def _canonical(method: str, answer: Any, *, has_dates: bool) -> str:  # noqa: ANN401  # a node may answer anything
    shaped = _shaped(method, answer, has_dates=has_dates)
    error = shaped.get("error")
    if isinstance(error, dict):  # messages are every maker's own
        return f"error {error.get('code')} {json.dumps(error.get('data'))}"
    return json.dumps(shaped.get("result"), sort_keys=True).lower()


def _shaped(method: str, answer: Any, *, has_dates: bool) -> Any:  # noqa: ANN401  # a node may answer anything
    result = answer.get("result")
    log = _DATED_LOG if has_dates else _LOG
    if method == "eth_getLogs" and isinstance(result, list):
        return answer | {"result": [_members(each, log) for each in result]}
    if method in _SHAPES and isinstance(result, dict):
        members = _members(result, _SHAPES[method])
        if isinstance(result.get("logs"), list):
            members["logs"] = [_members(each, log) for each in result["logs"]]
        return answer | {"result": members}
    return answer


def _members(value: Any, names: Sequence[str]) -> Any:  # noqa: ANN401  # a node may answer anything
    return {name: value[name] for name in names if name in value} if isinstance(value, dict) else value
