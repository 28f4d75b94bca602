"""Executes an exported chain again, block by block, with the Ethereum execution specifications; compares every root.

    python scripts/reexecute.py FILE

The specifications are an implementation of their own, which shares no code with the one that made the chain. They run
in an environment of their own, .venv-specs, made at first use: they pin an older cryptography. What stands in the file
is what `fedchain ledger export FILE` wrote.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path

SPECIFICATIONS = "ethereum-execution==2.20.0"
ENVIRONMENT = Path(__file__).resolve().parent.parent / ".venv-specs"

PROGRAM = """
import json, sys
from ethereum_rlp import rlp
from ethereum_types.bytes import Bytes
from ethereum_types.numeric import U64, U256, Uint
from ethereum.crypto.hash import keccak256
from ethereum.exceptions import EthereumException
from ethereum.forks.cancun.blocks import Block, Header
from ethereum.forks.cancun.fork import BlockChain, state_transition
from ethereum.forks.cancun.fork_types import Account, Address
from ethereum.forks.cancun.state import State, set_account, state_root

lines = open(sys.argv[1], encoding="ascii")
first = json.loads(next(lines))
genesis = Block(rlp.decode_to(Header, bytes.fromhex(first["header"])), (), (), ())
state = State()
for address, balance in first["accounts"].items():
    set_account(state, Address(bytes.fromhex(address)), Account(Uint(0), U256(int(balance)), Bytes()))
expected, got = genesis.header.state_root.hex(), state_root(state).hex()
if expected != got:
    sys.exit("block 0: expected the state root 0x%s, got 0x%s" % (expected, got))
chain = BlockChain([genesis], state, U64(int(first["chain_id"])))
count = 0
for line in lines:
    count += 1
    try:
        state_transition(chain, rlp.decode_to(Block, bytes.fromhex(json.loads(line)["block"])))
    except (EthereumException, rlp.DecodingError, ValueError) as error:
        got = str(error) or type(error).__name__
        sys.exit("block %d: expected a block that executes to its own roots, got %s" % (count, got))
head = keccak256(rlp.encode(chain.blocks[-1].header))
print(json.dumps({"blocks": count, "head": "0x" + head.hex(), "state_root": "0x" + state_root(state).hex()}))
"""


def install(python: Path) -> None:
    """Put the specifications into their environment, if they are not there."""
    if not (ENVIRONMENT / ".installed").exists():
        print(f"installing {SPECIFICATIONS} into {ENVIRONMENT.name}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        pip = [str(python), "-m", "pip", "--disable-pip-version-check", "--no-input", "install", "-qq"]
        subprocess.run([*pip, SPECIFICATIONS], check=True)
        (ENVIRONMENT / ".installed").write_text(SPECIFICATIONS)


def main() -> int:
    """Make the environment if it is missing, then execute; return the exit code."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        print("usage: reexecute.py FILE, a chain that `fedchain ledger export FILE` wrote", file=sys.stderr)
        return 2
    python = ENVIRONMENT / "bin" / "python"
    ENVIRONMENT.mkdir(exist_ok=True)
    with (ENVIRONMENT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # of two that come at once, one installs
        install(python)
    done = subprocess.run([str(python), "-c", PROGRAM, sys.argv[1]], check=False)
    return 1 if done.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
