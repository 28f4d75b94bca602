"""The ledger on an EVM chain: contracts, an embedded chain, and any JSON-RPC node behind the same code."""
