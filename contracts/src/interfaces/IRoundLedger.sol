// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What became of each round: one hash chain per run, one storage slot per chain.
/// @notice A round ends in exactly one link: 1 sealed with a new model, 2 aborted with the old one, or 3 the run is
/// closed (the closing link takes the next number). The round hash of a link is
/// keccak256(abi.encode(uint256 chain id, address this, bytes32 federation, bytes32 run, uint64 round, uint8 kind,
/// bytes32 previousHash, bytes32 registryHead, bytes32 updatesRoot, bytes32 rejectedRoot, bytes32 baseModel,
/// bytes32 modelDigest, bytes32 manifestDigest, uint32 accepted, uint32 rejected)), with the registry's head at the
/// moment of sealing, so that whoever holds a round hash also holds who was who.
interface IRoundLedger {
    /// @param previousHash round hash of the previous link, zero in round 1
    /// @param updatesRoot Merkle root over the accepted updates, zero where there are none
    /// @param rejectedRoot Merkle root over the rejected replies, zero where there are none
    /// @param accepted leaves under updatesRoot
    /// @param rejected leaves under rejectedRoot
    struct Link {
        bytes32 run;
        uint64 round;
        uint8 kind;
        bytes32 previousHash;
        bytes32 updatesRoot;
        bytes32 rejectedRoot;
        bytes32 baseModel;
        bytes32 modelDigest;
        bytes32 manifestDigest;
        uint32 accepted;
        uint32 rejected;
    }

    event RoundSealed(
        bytes32 indexed federation,
        bytes32 indexed run,
        uint64 indexed round,
        bytes32 roundHash,
        bytes32 previousHash,
        bytes32 updatesRoot,
        bytes32 rejectedRoot,
        bytes32 baseModel,
        bytes32 modelDigest,
        bytes32 manifestDigest,
        uint32 accepted,
        uint32 rejected
    );
    event RoundAborted(
        bytes32 indexed federation,
        bytes32 indexed run,
        uint64 indexed round,
        bytes32 roundHash,
        bytes32 previousHash,
        bytes32 updatesRoot,
        bytes32 rejectedRoot,
        bytes32 baseModel,
        bytes32 modelDigest,
        bytes32 manifestDigest,
        uint32 accepted,
        uint32 rejected
    );
    event RunClosed(
        bytes32 indexed federation,
        bytes32 indexed run,
        uint64 indexed round,
        bytes32 roundHash,
        bytes32 previousHash,
        bytes32 updatesRoot,
        bytes32 rejectedRoot,
        bytes32 baseModel,
        bytes32 modelDigest,
        bytes32 manifestDigest,
        uint32 accepted,
        uint32 rejected
    );

    error ZeroValue();
    /// @dev The registry belongs to another federation.
    error ForeignFederation(bytes32 expected, bytes32 got);
    error WrongKind(uint8 got);
    /// @dev The link does not follow the run's last link, or the run is closed. `expected` is the slot's value,
    /// `got` the value that the link's round and previous hash would need.
    error WrongHead(bytes32 run, bytes32 expected, bytes32 got);
    /// @dev An aborted or closing link accepts nothing and keeps the model.
    error ModelChanged(bytes32 run, uint64 round);

    /// @notice Records the next link of a run. Aggregator only.
    function seal(Link calldata link) external returns (bytes32 roundHash);

    /// @notice A run's slot: zero before its first link, keccak256(abi.encode(uint64 round, bytes32 roundHash)) after a
    /// link, keccak256(abi.encode(uint64 round, bytes32 roundHash, string "closed")) after the closing link, which no
    /// later link can match.
    function headOf(bytes32 run) external view returns (bytes32);

    function federation() external view returns (bytes32);

    /// @notice The registry whose head every round hash binds.
    function registry() external view returns (address);
}
