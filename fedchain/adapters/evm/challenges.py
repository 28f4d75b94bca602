"""The ChallengeBook port over Challenges.sol and PrivacyLedger.sol, and putting these on a chain.

Both are deployed by the federation's operator, among other transactions of its key, so they are looked for among the
contracts that this key has created: a deployment that was interrupted is finished and not repeated.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, Final

from fedchain.adapters.evm.abi import Contract, contract
from fedchain.adapters.evm.encoding import contract_address
from fedchain.adapters.evm.node import Node
from fedchain.core import document
from fedchain.core.challenges import Equivocation, Included, Overspend, PromiseState, Refused
from fedchain.core.eip712 import TypedMessage, members
from fedchain.core.errors import FormatError, InputError, RejectedTransactionError
from fedchain.core.messages import InclusionPromise
from fedchain.core.releases import LinkRecord
from fedchain.core.signatures import checksum_address
from fedchain.core.task import SignedPromise
from fedchain.ports.challenges import BookIdentity, Exposure, Freeze, Omission
from fedchain.ports.signer import Signer

CHALLENGES: Final[Contract] = contract("Challenges")
PRIVACY: Final[Contract] = contract("PrivacyLedger")
_SIGNATURE: Final = b'"signature":"0x'
_DELTA: Final = b'"delta_e12":'
_UNIT: Final = b'"unit":'


class EvmChallengeBook:
    """The challenges of a federation on a node, as one sender. Without a key it only reads."""

    def __init__(self, node: Node, identity: BookIdentity, sender: Signer | None = None) -> None:
        self._node = node
        self._identity = identity
        self._sender = sender

    def identity(self) -> BookIdentity:
        """Return chain and contracts."""
        return self._identity

    def omissions(self) -> Sequence[Omission]:
        """Return every promise that was ever challenged."""
        found: list[Omission] = []
        for (name, signer), (promised, _, _) in self._logs(CHALLENGES, "OmissionChallenged"):
            state, answer_by = self._node.call(self._identity.challenges_contract, CHALLENGES, "promiseOf", name)
            found.append(Omission(InclusionPromise(*promised), _address(signer), answer_by, PromiseState(state)))
        return found

    def exposures(self) -> Sequence[Exposure]:
        """Return every equivocation that was shown."""
        return [
            Exposure(_address(signer), run, round_, *hashes)
            for (signer, run, round_), hashes in self._logs(CHALLENGES, "Equivocated")
        ]

    def freezes(self) -> Sequence[Freeze]:
        """Return every freeze."""
        found: list[Freeze] = []
        for (dataset, run, round_), (total, limit) in self._logs(PRIVACY, "DatasetFrozen"):
            (is_frozen,) = self._node.call(self._identity.privacy_contract, PRIVACY, "isFrozen", dataset)
            found.append(Freeze(dataset, run, round_, total, limit, is_frozen))
        return found

    def challenge_omission(self, promised: SignedPromise, signer: bytes) -> bytes:
        """Demand that a promise is shown to be kept; return the transaction hash."""
        return self._send(CHALLENGES, "challengeOmission", _fields(promised.promise), signer, promised.signature)

    def answer(self, answer: Included | Refused) -> bytes:
        """Show what became of a promised update; return the transaction hash."""
        promise, records, proof = _fields(answer.promise), link_records(answer.records), list(answer.proof)
        if isinstance(answer, Included):
            return self._send(CHALLENGES, "answerIncluded", promise, records, proof)
        place = max(answer.reply.find(_SIGNATURE), 0)
        refused = (astuple(answer.update), astuple(answer.rejected), answer.reply, place)
        return self._send(CHALLENGES, "answerRejected", promise, refused, records, proof)

    def conclude(self, promise: InclusionPromise) -> bytes:
        """State that nobody answered; return the transaction hash."""
        return self._send(CHALLENGES, "concludeOmission", _fields(promise))

    def prove_equivocation(self, shown: Equivocation) -> bytes:
        """Show that a key signed two hashes of one round; return the transaction hash."""
        pairs = _fields(shown.one), shown.one_signature, _fields(shown.other), shown.other_signature
        return self._send(CHALLENGES, "proveEquivocation", shown.signer, *pairs)

    def challenge_overspend(self, shown: Overspend) -> bytes:
        """Freeze a dataset by a sealed update above its grant; return the transaction hash."""
        header, dp = shown.header, document.to_bytes(shown.header.dp)
        evidence = (
            _fields(header.message), shown.signer, header.signature, shown.payload_codec, list(shown.proof), dp,
            dp.index(_DELTA), dp.index(_UNIT),
        )  # fmt: skip
        return self._send(PRIVACY, "challengeOverspend", evidence, shown.unit, link_records(shown.records))

    def _logs(self, of: Contract, name: str) -> list[tuple[tuple[Any, ...], tuple[Any, ...]]]:
        event = of.events[name]
        return [event.decode(log.topics, log.data) for log in self._node.logs([self._at(of)], [[event.topic]])]

    def _at(self, of: Contract) -> bytes:
        return self._identity.challenges_contract if of is CHALLENGES else self._identity.privacy_contract

    def _send(self, on: Contract, function: str, *arguments: object) -> bytes:
        if self._sender is None:
            raise InputError(f"no key to send {function} with", expected="a sender's", got="none")
        return self._node.send(self._sender, on, on.call(function, *arguments), self._at(on)).transaction


def deploy_book(node: Node, deployer: Signer, rounds_contract: bytes, answer_window_s: int) -> BookIdentity:
    """Return the contracts of challenges about these rounds that this key has deployed, or deploy what is missing.

    Raises:
        RejectedTransactionError: if a contract refuses its terms.
        UnreachableError: if the node does not answer.
    """
    challenges = deploy_challenges(node, deployer, rounds_contract, answer_window_s)
    found = next((each for each in created_by(node, deployer) if _asked_at(node, each, PRIVACY) == challenges), None)
    privacy = found or create(node, deployer, PRIVACY, challenges)
    identity = BookIdentity(node.chain_id(), challenges, privacy, rounds_contract, answer_window_s)
    check_book(node, identity)
    return identity


def check_book(node: Node, identity: BookIdentity) -> None:
    """Check that these very contracts are where they are said to be.

    Raises:
        InputError: if others are there, or none.
    """
    if node.chain_id() != identity.chain_id:
        raise InputError("foreign chain id", expected=identity.chain_id, got=node.chain_id(), remedy="check the node")
    expected = identity.rounds_contract, identity.answer_window_s
    challenges, privacy = identity.challenges_contract, identity.privacy_contract
    if challenges_at(node, challenges) != expected or _asked_at(node, privacy, PRIVACY) != challenges:
        raise InputError(
            f"no challenges of this federation at {checksum_address(challenges)} and {checksum_address(privacy)}",
            remedy="check the node's address and the home directory",
        )


def deploy_challenges(node: Node, deployer: Signer, rounds_contract: bytes, answer_window_s: int) -> bytes:
    """Return the address of the Challenges with these terms that this key has deployed, or deploy them."""
    asked = rounds_contract, answer_window_s
    found = next((each for each in created_by(node, deployer) if challenges_at(node, each) == asked), None)
    return found or create(node, deployer, CHALLENGES, *asked)


def created_by(node: Node, deployer: Signer) -> list[bytes]:
    """Return the addresses of the contracts that a key has created itself."""
    created = [contract_address(deployer.address, nonce) for nonce in range(node.nonce(deployer.address))]
    return [each for each in created if node.code(each)]


def create(node: Node, deployer: Signer, what: Contract, *arguments: object) -> bytes:
    """Create a contract and return its address."""
    address = contract_address(deployer.address, node.nonce(deployer.address))
    node.send(deployer, what, what.creation(*arguments), None)
    return address


def challenges_at(node: Node, address: bytes) -> tuple[bytes, int] | None:
    """Return rounds and window of a contract of challenges, None where there is another contract."""
    try:
        (rounds,), (window,) = (node.call(address, CHALLENGES, name) for name in ("rounds", "window"))
        return _address(rounds), window
    except (FormatError, RejectedTransactionError):
        return None


def link_records(records: Sequence[LinkRecord]) -> list[tuple[object, ...]]:
    """Return the preimages of links as the contracts take them."""
    return [_record(each) for each in records]


def _asked_at(node: Node, address: bytes, what: Contract) -> bytes | None:
    """Return whose answers a contract asks for, None where there is another contract."""
    try:
        (challenges,) = node.call(address, what, "challenges")
        node.call(address, what, "frozenAt", bytes(32))
        return _address(challenges)
    except (FormatError, RejectedTransactionError):
        return None


def _record(record: LinkRecord) -> tuple[object, ...]:
    run, round_, kind, *rest = astuple(record.link)
    return (run, round_, int(kind), record.previous_hash, *rest), record.registry_head


def _fields(message: TypedMessage) -> tuple[object, ...]:
    return tuple(getattr(message, name) for _, name in members(message.TYPE))


def _address(text: str) -> bytes:
    return bytes.fromhex(text.removeprefix("0x"))
