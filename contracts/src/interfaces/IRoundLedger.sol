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

    /// @dev One storage slot.
    struct Lead {
        address aggregator;
        uint32 fence;
        uint64 pausedUntil;
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

    event AggregatorSet(address indexed aggregator, uint32 fence);
    event TakenOver(address indexed aggregator, uint32 fence);
    event GuardianSet(address guardian);
    event Paused(uint64 until);

    error ZeroValue();
    /// @dev The registry or the predecessor belongs to another federation.
    error ForeignFederation(bytes32 expected, bytes32 got);
    error NotAggregator(address got);
    error NotGuardian(address got);
    /// @dev Another process of the aggregator, or another aggregator, took over; who still holds an older fence stops.
    error Fenced(uint32 expected, uint32 got);
    error IsPaused(uint64 until);
    /// @dev A pause ends after the present second, and within MAX_PAUSE from it.
    error WrongPause(uint64 after_, uint64 last, uint64 got);
    error PauseTooEarly(uint64 from);
    error WrongKind(uint8 got);
    /// @dev The link does not follow the run's last link, or the run is closed. `expected` is the slot's value,
    /// `got` the value that the link's round and previous hash would need.
    error WrongHead(bytes32 run, bytes32 expected, bytes32 got);
    /// @dev An aborted or closing link accepts nothing and keeps the model.
    error ModelChanged(bytes32 run, uint64 round);

    /// @notice Records the next link of a run. Aggregator only, with the present fence, while there is no pause.
    function seal(Link calldata link, uint32 fence) external returns (bytes32 roundHash);

    /// @notice Records several links, of one run or of many, in their order. All of them stand, or none.
    function sealMany(Link[] calldata links, uint32 fence) external returns (bytes32[] memory roundHashes);

    /// @notice Fences every other process that holds the aggregator's key: from now on only the returned fence seals.
    function takeOver() external returns (uint32 fence);

    /// @notice Puts another key, or the same one, in charge and fences the last. Admin only.
    function setAggregator(address newAggregator) external;

    /// @notice Says who may pause; zero for nobody. Admin only. A pause that runs is not touched.
    function setGuardian(address newGuardian) external;

    /// @notice Stops sealing, and nothing else, until the second `until`, at most MAX_PAUSE from now. It ends by itself;
    /// the next one may start only when sealing was open for at least as long as it was stopped. Guardian only.
    function pause(uint64 until) external;

    /// @notice A run's slot: zero before its first link, keccak256(abi.encode(uint64 round, bytes32 roundHash)) after a
    /// link, keccak256(abi.encode(uint64 round, bytes32 roundHash, string "closed")) after the closing link, which no
    /// later link can match.
    function headOf(bytes32 run) external view returns (bytes32);

    /// @notice Who seals, under which fence, and the first second after the last pause.
    function lead() external view returns (Lead memory);

    /// @notice Whether a key is the aggregator or has ever been: what it promised still binds it.
    function wasAggregator(address key) external view returns (bool);

    function guardian() external view returns (address);

    /// @notice First second in which the guardian may pause.
    function nextPause() external view returns (uint64);

    /// @notice Longest pause in seconds.
    function MAX_PAUSE() external view returns (uint64);

    function federation() external view returns (bytes32);

    /// @notice The registry whose head every round hash binds.
    function registry() external view returns (address);

    /// @notice The ledger that this one continues for the same federation, zero for none. Its runs stay there, closed or
    /// not; new runs start here.
    function predecessor() external view returns (address);
}
