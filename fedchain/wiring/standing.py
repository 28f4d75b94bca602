"""How a home's ledger stands, and the proof of a run's head against a block header; the embedded chain as a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from fedchain.adapters.evm.export import export_chain
from fedchain.adapters.evm.ledger import EvmLedger
from fedchain.adapters.evm.opening import read_chain
from fedchain.adapters.evm.proof import head_key, verify_storage_proof
from fedchain.adapters.evm.roles import EvmRoles
from fedchain.adapters.files import create_file, explained
from fedchain.adapters.home import Home, open_home
from fedchain.adapters.log.ledger import LogLedger
from fedchain.adapters.system import SystemClock
from fedchain.core.errors import InputError, IntegrityError
from fedchain.core.record import LinkKind
from fedchain.ports.ledger import Ledger, LedgerIdentity, LinkEvent
from fedchain.ports.roles import Role
from fedchain.wiring.home_chain import read_home_chain
from fedchain.wiring.parties import kind_of, parties_of, read_ledger
from fedchain.workflow.standing import HeadProof, Lead, LedgerStanding, RunStanding, SignedHead


def standing(home: Path) -> LedgerStanding:
    """Return how the ledger of a home stands.

    Raises:
        InputError: if there is none, or it is not the one that the home names.
        UnreachableError: if its node does not answer.
    """
    opened = open_home(home)
    with read_ledger(opened) as ledger:
        identity = ledger.identity()
        links = [event for event in ledger.events() if isinstance(event, LinkEvent)]
        return LedgerStanding(
            kind=kind_of(opened),
            chain_id=identity.chain_id,
            registry_contract=identity.registry_contract,
            rounds_contract=identity.rounds_contract,
            federation=identity.federation,
            registry_head=ledger.registry_head(),
            runs=_runs(ledger, links),
            lead=Lead(*ledger.lead()) if isinstance(ledger, EvmLedger) else None,
            holders=_holders(opened, identity) if isinstance(ledger, EvmLedger) else None,
            tree_head=_tree_head(ledger) if isinstance(ledger, LogLedger) else None,
        )


def prove(home: Path, run: bytes, block_hash: bytes | None) -> HeadProof:
    """Prove a run's slot against a block: the one with this hash, or where there is none the newest that is confirmed.

    Raises:
        IntegrityError: if the block is another one, the proof is broken, or the ledger says otherwise.
        InputError: if the home has no chain.
        UnreachableError: if its node does not answer, or gives no proofs.
    """
    with read_ledger(open_home(home)) as ledger:
        if not isinstance(ledger, EvmLedger):
            raise InputError(
                "a log has no blocks to prove a head against", remedy="`fedchain ledger status` shows its tree head"
            )
        contract, key = ledger.identity().rounds_contract, head_key(run)
        proof = ledger.head_proof(run)
        slot = verify_storage_proof(proof, block_hash or proof.block_hash, contract, key)
        said = ledger.head_slot(run)
    if slot != said:
        raise IntegrityError("the node contradicts its own proof", expected="0x" + slot.hex(), got="0x" + said.hex())
    return HeadProof(contract, key, slot, proof.block, proof.block_hash, block_hash is not None)


def export(home: Path, file: Path) -> int:
    """Write the home's embedded chain to a new file; return the number of its last block.

    Raises:
        InputError: if the home has no embedded chain, or the file exists or cannot be written.
    """
    opened = open_home(home)
    kind = kind_of(opened)
    if kind != "embedded":
        raise InputError("only an embedded chain is exported", expected="ledger=embedded", got=f"ledger={kind}")
    with read_ledger(opened) as ledger:
        chain_id = ledger.identity().chain_id
    if file.exists():
        raise InputError("export", expected="a file that does not exist yet", got=file)
    parties = parties_of(opened)
    funded = (parties.deployer.address, parties.operator.address, parties.aggregator.address)
    with closing(read_chain(opened.chain, SystemClock(), chain_id=chain_id)) as chain:
        lines = list(export_chain(chain, funded))
    with explained(file):
        create_file(file, "".join(line + "\n" for line in lines).encode("ascii"))
    return len(lines) - 1


def _runs(ledger: Ledger, links: Sequence[LinkEvent]) -> tuple[RunStanding, ...]:
    last = {event.link.run: event for event in links}
    return tuple(
        RunStanding(run, event.link.round, event.link.kind is LinkKind.CLOSED, event.round_hash, ledger.head_slot(run))
        for run, event in last.items()
    )


def _holders(home: Home, identity: LedgerIdentity) -> Mapping[Role, tuple[bytes, ...]]:
    with read_home_chain(home, identity.chain_id) as node:
        roles = EvmRoles(node, identity)
        return {role: tuple(roles.holders(role)) for role in Role}


def _tree_head(ledger: LogLedger) -> SignedHead:
    head = ledger.tree_head().head
    return SignedHead(head.size, head.root, head.at)
