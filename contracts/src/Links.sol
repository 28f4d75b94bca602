// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title The hashes of a run's chain; docs/format.md has their byte tables
library Links {
    uint8 internal constant SEALED = 1;
    uint8 internal constant ABORTED = 2;
    uint8 internal constant CLOSED = 3;

    /// @notice The round hash of a link that `rounds` sealed for `federation` under a registry head.
    /// @dev keccak256(abi.encode(chain id, rounds, federation, run, round, kind, previousHash, registryHead, the rest)):
    /// the link's eleven words copied around one, which spares a seal 400 gas. Words that do not fit their type are not
    /// cut, so that they hash to what no ledger ever sealed; the ledger itself refuses them when it emits them.
    function roundHash(IRoundLedger.Link calldata link, address rounds, bytes32 federation, bytes32 registryHead)
        internal
        view
        returns (bytes32 hash)
    {
        assembly ("memory-safe") {
            let words := mload(0x40)
            mstore(words, chainid())
            mstore(add(words, 0x20), rounds)
            mstore(add(words, 0x40), federation)
            calldatacopy(add(words, 0x60), link, 0x80)
            mstore(add(words, 0xe0), registryHead)
            calldatacopy(add(words, 0x100), add(link, 0x80), 0xe0)
            hash := keccak256(words, 0x1e0)
        }
    }

    /// @notice The value of a run's slot after a link.
    function slot(uint64 round, bytes32 hash, bool isClosed) internal pure returns (bytes32) {
        return isClosed ? keccak256(abi.encode(round, hash, "closed")) : keccak256(abi.encode(round, hash));
    }
}
