"""An EVM chain inside this process: py-evm under Cancun rules, one transaction a block, mined when it is sent.

There are no validators: the proof-of-stake header fields are the constants of EIP-3675 and anyone with the file could
rewrite it. It is a ledger for one machine; its independence comes from pinned heads. The rules, the gas and the bytes
are Ethereum's (execution specifications, Cancun), so the same contracts run unchanged on any other node.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from eth.abc import BlockAPI, BlockHeaderAPI, ComputationAPI, ReceiptAPI, SignedTransactionAPI, StateAPI
from eth.chains.base import MiningChain
from eth.constants import BLANK_ROOT_HASH, CREATE_CONTRACT_ADDRESS, ZERO_ADDRESS
from eth.db.atomic import AtomicDB
from eth.exceptions import HeaderNotFound, PyEVMError, Revert, TransactionNotFound
from eth.typing import AccountDetails, HeaderParams
from eth.vm.forks.cancun import CancunVM
from eth.vm.interrupt import EVMMissingData
from eth.vm.spoof import SpoofTransaction
from eth_hash.auto import keccak
from eth_keys.exceptions import BadSignature
from eth_typing import Address, BlockNumber, Hash32
from eth_utils.exceptions import ValidationError
from rlp.exceptions import RLPException

from fedchain.adapters.evm.database import ChainDatabase, LogQuery, LogRow
from fedchain.adapters.evm.proof import storage_root, trie_path, trie_value
from fedchain.core.errors import InputError
from fedchain.ports.clock import Clock

GAS_LIMIT: Final = 30_000_000
FUNDS: Final = 10**24
"""Wei that each funded address has at genesis."""
BASE_FEE: Final = 7
"""Wei per gas; the lowest that EIP-1559 falls to, and far from half-full blocks it never rises."""


@dataclass(frozen=True, slots=True)
class Genesis:
    """Where a new chain starts: its id, its time in seconds, and the addresses that can pay for gas."""

    chain_id: int
    timestamp: int
    funded: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Call:
    """A message call or a contract creation (`to` is None) that is executed and forgotten."""

    sender: bytes
    to: bytes | None
    data: bytes
    value: int = 0
    gas: int = GAS_LIMIT


@dataclass(frozen=True, slots=True)
class Mined:
    """A transaction with its block and its receipt; it is the only one in its block."""

    transaction: SignedTransactionAPI
    block: BlockHeaderAPI
    receipt: ReceiptAPI


class RefusedError(Exception):
    """The chain refuses a transaction or a query before executing it."""


class RevertedError(Exception):
    """An execution failed; `data` is what the contract returned, empty for a failure of the EVM itself."""

    def __init__(self, data: bytes) -> None:
        super().__init__(f"execution reverted with {len(data)} bytes")
        self.data = data


class EmbeddedChain:
    """An open chain. Every public method reads or writes one consistent state."""

    def __init__(self, database: ChainDatabase, chain_id: int, clock: Clock) -> None:
        self.chain_id = chain_id
        self._database = database
        self._clock = clock
        self._pairs = AtomicDB(database.pairs)
        self._last_call: tuple[object, bytes] | None = None  # a view is asked again and again in a round
        self._chain_class = MiningChain.configure(
            "CancunChain", vm_configuration=((BlockNumber(0), CancunVM),), chain_id=chain_id
        )

    @property
    def is_writable(self) -> bool:
        """Whether this process may write it."""
        return self._database.is_writable

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @property
    def sending_lock(self) -> Path:
        """The file that whoever chooses a nonce holds locked until its transaction is mined."""
        return self._database.path.with_name(f"{self._database.path.name}.sending.lock")

    def create_genesis(self, genesis: Genesis) -> None:
        """Write block 0, unless another process was first."""
        account: AccountDetails = {"balance": FUNDS, "nonce": 0, "code": b"", "storage": {}}
        header: dict[str, HeaderParams] = {
            "gas_limit": GAS_LIMIT,
            "timestamp": genesis.timestamp,
            "base_fee_per_gas": BASE_FEE,
            "coinbase": ZERO_ADDRESS,
            "extra_data": b"fedchain",
            "withdrawals_root": BLANK_ROOT_HASH,
        }
        with self._database.transaction():
            if self._database.present_chain_id() is not None:
                return
            self._database.create(genesis.chain_id)
            self._chain_class.from_genesis(self._pairs, header, {Address(a): account for a in genesis.funded})

    # reading

    def head(self) -> BlockHeaderAPI:
        """Return the header of the last block."""
        with self._reading() as chain:
            return chain.get_canonical_head()

    def block(self, number: int | None) -> BlockAPI:
        """Return a block by its number, the last one for None.

        Raises:
            RefusedError: if there is no such block.
        """
        with self._reading() as chain:
            return chain.get_block_by_header(self._header(chain, number))

    def block_of(self, block_hash: bytes) -> BlockAPI:
        """Return a block by its hash.

        Raises:
            RefusedError: if there is no such block.
        """
        with self._reading() as chain:
            try:
                return chain.get_block_by_hash(Hash32(block_hash))
            except (HeaderNotFound, ValidationError) as error:
                raise RefusedError(f"no block 0x{block_hash.hex()}") from error

    def balance(self, address: bytes, number: int | None) -> int:
        """Return the wei of an address after a block."""
        with self._state(number) as state:
            return state.get_balance(Address(address))

    def nonce(self, address: bytes, number: int | None) -> int:
        """Return how many transactions an address has sent, after a block."""
        with self._state(number) as state:
            return state.get_nonce(Address(address))

    def code(self, address: bytes, number: int | None) -> bytes:
        """Return the code at an address after a block."""
        with self._state(number) as state:
            return state.get_code(Address(address))

    def storage(self, address: bytes, slot: int, number: int | None) -> int:
        """Return a storage slot of a contract after a block."""
        with self._state(number) as state:
            return state.get_storage(Address(address), slot)

    def proof(
        self, address: bytes, slots: Sequence[bytes], number: int | None
    ) -> tuple[list[bytes], list[list[bytes]]]:
        """Return the trie nodes that prove an account after a block, and for each slot those that prove its value."""
        with self._reading() as chain:
            state, node = self._header(chain, number).state_root, self._database.pairs.__getitem__
            root = storage_root(trie_value(state, keccak(address), node))
            return trie_path(state, keccak(address), node), [trie_path(root, keccak(slot), node) for slot in slots]

    def mined(self, transaction_hash: bytes) -> Mined | None:
        """Return a transaction with its receipt, or None."""
        with self._reading() as chain:
            place = _place(chain, transaction_hash)
            if place is None:
                return None
            number, index = place
            return Mined(
                chain.get_canonical_transaction_by_index(number, index),
                chain.get_canonical_block_header_by_number(number),
                chain.get_transaction_receipt_by_index(number, index),
            )

    def logs(self, query: LogQuery) -> list[LogRow]:
        """Return the logs that match, in chain order, each of a transaction that its block holds."""
        with self._reading() as chain:
            rows = self._database.logs(query)
            for row in rows:
                if _place(chain, row.transaction_hash) != (row.block, 0):
                    got = f"a log of block {row.block} from another transaction"
                    raise InputError(f"{self._database.path} is damaged", got=got, remedy="restore it from a copy")
        return rows

    def call(self, call: Call, number: int | None) -> bytes:
        """Execute on the state after a block and return the output.

        Raises:
            RevertedError: if the execution fails.
        """
        with self._reading() as chain:
            place = call, self._header(chain, number).hash, self._clock.now()
            last = self._last_call
            if last is None or last[0] != place:
                last = self._last_call = place, _output(self._execute(chain, call, number))
            return last[1]

    def estimate(self, call: Call, number: int | None) -> int:
        """Return a gas limit with which the execution succeeds.

        Raises:
            RevertedError: if it fails with any limit.
        """
        with self._reading() as chain:
            computation = self._execute(chain, call, number)
            _output(computation)
            # Each nested call withholds 1/64 of the gas (EIP-150), so a quarter more is enough for 14 levels of them.
            return min(call.gas, (call.gas - computation.get_gas_remaining()) * 5 // 4)

    # writing

    def send(self, raw: bytes) -> Mined:
        """Mine a signed transaction in a block of its own; it is durable when this returns.

        Raises:
            RefusedError: if the transaction is not valid here: signature, chain id, nonce, funds.
            InputError: if it is open for reading only, the disk is full, or others do not stop writing.
        """
        if not self.is_writable:
            raise InputError(
                "chain is open for reading", expected="a writer", got="a reader", remedy="open it for writing"
            )
        # The head that the block rests on is read inside the transaction, which other processes' blocks wait for.
        with self._database.transaction(), self._translated():
            chain = self._chain_class(self._pairs)
            transaction = self._decoded(raw)
            parent = chain.get_canonical_head()
            header = chain.create_header_from_parent(
                parent, gas_limit=parent.gas_limit, timestamp=max(self._clock.now(), parent.timestamp + 1)
            )
            result, receipts, _ = self._chain_class(self._pairs, header).mine_all([transaction])
            block = result.imported_block.header
            self._database.add_logs(_rows(block, transaction, receipts[0]))
            return Mined(transaction, block, receipts[0])

    def _decoded(self, raw: bytes) -> SignedTransactionAPI:
        try:
            transaction = CancunVM.get_transaction_builder().decode(raw)
            transaction.validate()
            transaction.check_signature_validity()
            signed_for = transaction.chain_id
        except (BadSignature, PyEVMError, RLPException, TypeError, ValidationError, ValueError) as error:
            # A flipped bit can turn an encoded number into a list, which py-evm takes for bytes: TypeError.
            raise RefusedError(f"not a signed transaction: {error}") from error
        if signed_for != self.chain_id:
            raise RefusedError(f"transaction is for another chain: expected {self.chain_id}, got {signed_for}")
        return transaction

    def _execute(self, chain: MiningChain, call: Call, number: int | None) -> ComputationAPI:
        parent = self._header(chain, number)
        time = max(self._clock.now(), parent.timestamp + 1)
        header = chain.create_header_from_parent(parent, gas_limit=parent.gas_limit, timestamp=time)
        vm = chain.get_vm(header.copy(base_fee_per_gas=0))
        transaction = vm.create_unsigned_transaction(
            nonce=vm.state.get_nonce(Address(call.sender)),
            gas_price=0,
            gas=call.gas,
            to=CREATE_CONTRACT_ADDRESS if call.to is None else Address(call.to),
            value=call.value,
            data=call.data,
        )
        spoofed = cast("SignedTransactionAPI", SpoofTransaction(transaction, from_=Address(call.sender)))
        return vm.state.costless_execute_transaction(spoofed)

    def _header(self, chain: MiningChain, number: int | None) -> BlockHeaderAPI:
        head = chain.get_canonical_head()
        if number is None or number == head.block_number:
            return head
        if not 0 <= number < head.block_number:
            raise RefusedError(f"no block {number}: the last one is {head.block_number}")
        return chain.get_canonical_block_header_by_number(BlockNumber(number))

    @contextmanager
    def _state(self, number: int | None) -> Iterator[StateAPI]:
        with self._reading() as chain:
            yield chain.get_vm(self._header(chain, number)).state

    @contextmanager
    def _reading(self) -> Iterator[MiningChain]:
        # A chain object remembers the head that it saw, so each read makes its own.
        with self._database.snapshot(), self._translated():
            yield self._chain_class(self._pairs)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except ValidationError as error:
            raise RefusedError(str(error)) from error
        except (PyEVMError, EVMMissingData, RLPException, TypeError) as error:
            # A flipped byte can turn an encoded string into a list, which py-evm takes for a number: TypeError.
            raise InputError(
                f"{self._database.path} is damaged", got=repr(error), remedy="restore it from a copy"
            ) from error


def _place(chain: MiningChain, transaction_hash: bytes) -> tuple[BlockNumber, int] | None:
    try:
        return chain.get_canonical_transaction_index(Hash32(transaction_hash))
    except TransactionNotFound:
        return None


def _output(computation: ComputationAPI) -> bytes:
    if computation.is_error:
        raise RevertedError(computation.output if isinstance(computation.error, Revert) else b"")
    return computation.output


def _rows(block: BlockHeaderAPI, transaction: SignedTransactionAPI, receipt: ReceiptAPI) -> list[LogRow]:
    return [
        LogRow(
            block=block.block_number,
            position=position,
            block_hash=block.hash,
            timestamp=block.timestamp,
            transaction_hash=transaction.hash,
            address=log.address,
            data=log.data,
            topics=tuple(topic.to_bytes(32) for topic in log.topics),
        )
        for position, log in enumerate(receipt.logs)
    ]
