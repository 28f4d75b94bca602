// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRoundLedger} from "./IRoundLedger.sol";

/// @title What others than the aggregator say about the record: co-signatures, and challenges that it must answer.
/// @notice A link is proven by the preimages of all links from it to the present head of its run, or to a link that was
/// anchored here before. So the history of a long run is walked in several transactions, each from the newest link not
/// yet anchored backwards. Messages are signed in the domain of the RoundLedger.
interface IChallenges {
    /// @param registryHead the registry's head when the link was sealed: with the link, the preimage of its hash
    struct LinkRecord {
        IRoundLedger.Link link;
        bytes32 registryHead;
    }

    struct RoundReceipt {
        bytes32 federation;
        bytes32 run;
        uint64 round;
        bytes32 roundHash;
    }

    struct InclusionPromise {
        bytes32 federation;
        bytes32 run;
        uint64 round;
        bytes32 leaf;
        uint64 sealBy;
    }

    /// @param messageDigest EIP-712 digest of the ClientUpdate
    /// @param signatureDigest keccak256 of its signature
    struct UpdateLeaf {
        address signer;
        bytes32 messageDigest;
        bytes32 signatureDigest;
        uint64 payloadCodec;
    }

    struct RejectedLeaf {
        uint16 reason;
        uint64 round;
        address signer;
        uint64 node;
        bytes32 evidence;
    }

    /// @param reply the refused reply as it came: 4 bytes length of the header, header, payload; empty where the reason
    /// is one that the ledger itself shows
    /// @param signatureAt place in the reply at which `"signature":"0x` stands
    struct Rejection {
        UpdateLeaf update;
        RejectedLeaf rejected;
        bytes reply;
        uint256 signatureAt;
    }

    /// @dev What became of a promise: never challenged, challenged, kept (its leaf stands in the round), rejected (a
    /// rejected leaf holds the very reply), excused (a rejected leaf of its signer gives a reason that the ledger itself
    /// shows or refutes), or broken.
    enum PromiseState {
        Unchallenged,
        Challenged,
        Kept,
        Rejected,
        Excused,
        Broken
    }

    event Anchored(bytes32 indexed run, uint64 indexed round, bytes32 roundHash);
    event CoSigned(
        bytes32 indexed run, uint64 indexed round, address indexed signer, bytes32 roundHash, bytes signature
    );
    event Equivocated(
        address indexed signer, bytes32 indexed run, uint64 indexed round, bytes32 oneHash, bytes32 otherHash
    );
    event OmissionChallenged(
        bytes32 indexed id, address indexed signer, InclusionPromise promised, uint64 answerBy, bytes signature
    );
    event OmissionAnswered(bytes32 indexed id, PromiseState state, uint64 round);
    event OmissionProven(bytes32 indexed id, bytes32 indexed run, uint64 indexed round, bytes32 leaf);

    /// @dev The window must be longer than a pause, which could else run out the aggregator's time.
    error WindowTooShort(uint64 least, uint64 got);
    error NoRecords();
    /// @dev A record's previous hash is not the hash of the record before it.
    error BrokenChain(uint256 index);
    /// @dev The last record is neither the head of its run nor anchored.
    error NotOnLedger(bytes32 run, uint64 round, bytes32 roundHash);
    error ForeignFederation(bytes32 expected, bytes32 got);
    /// @dev The receipt or the promise is about another link than the one that the records prove.
    error OtherLink(bytes32 run, uint64 round);
    /// @dev Not a device that the registry holds as valid now, or not one who can equivocate or promise.
    error UnknownSigner(address signer);
    /// @dev The two receipts agree, or are about different rounds.
    error NoEquivocation();
    /// @dev The promise can still be kept.
    error NotDue(uint64 sealBy);
    error WrongState(PromiseState expected, PromiseState got);
    error WindowOpen(uint64 until);
    error WindowOver(uint64 since);
    error WrongProof();
    /// @dev The rejected leaf is not about the promised update.
    error OtherReply();

    /// @notice Remembers that the first record is a link of its run. Anyone; costs one slot.
    function anchor(LinkRecord[] calldata records) external;

    /// @notice Records a verifier's receipt. Anyone relays it; without records it must be of the head or anchored. The
    /// signer is a device that is valid now. An event and no slot.
    function cosign(
        RoundReceipt calldata receipt,
        address signer,
        bytes calldata signature,
        LinkRecord[] calldata records
    ) external;

    /// @notice Shows that a device or an aggregator signed two different hashes of one round. Anyone.
    function proveEquivocation(
        address signer,
        RoundReceipt calldata one,
        bytes calldata oneSignature,
        RoundReceipt calldata other,
        bytes calldata otherSignature
    ) external;

    /// @notice Demands that a promise, whose time is over, is shown to be kept. Anyone who holds one that an aggregator
    /// signed; nobody else can, so that spam is impossible rather than dear.
    function challengeOmission(InclusionPromise calldata promised, address signer, bytes calldata signature) external;

    /// @notice Shows that the promised leaf stands in its round. Anyone, within the window.
    function answerIncluded(
        InclusionPromise calldata promised,
        LinkRecord[] calldata records,
        bytes32[] calldata proof
    ) external;

    /// @notice Shows that the promised update was rejected in its round or a later one. Anyone, within the window. With
    /// the reply (up to 1 MiB, one block of the store) it is proven that the rejected leaf is about this very update.
    /// Without it the leaf must name its signer and round, and a reason that the ledger itself shows or refutes: the
    /// round was aborted, the key was not valid, or there was no consent. A rejection as a duplicate answers nothing.
    function answerRejected(
        InclusionPromise calldata promised,
        Rejection calldata rejection,
        LinkRecord[] calldata records,
        bytes32[] calldata proof
    ) external;

    /// @notice States that nobody answered. Anyone, after the window.
    function concludeOmission(InclusionPromise calldata promised) external;

    /// @notice The hash of the first record, if the records prove it. Reverts otherwise.
    function proven(LinkRecord[] calldata records) external view returns (bytes32 roundHash);

    function anchorOf(bytes32 run, uint64 round) external view returns (bytes32 roundHash);

    /// @notice When a signer's equivocation was first shown, 0 for never.
    function equivocatedAt(address signer) external view returns (uint64);

    /// @param id EIP-712 digest of the promise
    function promiseOf(bytes32 id) external view returns (PromiseState state, uint64 answerBy);

    function rounds() external view returns (IRoundLedger);

    /// @notice Seconds for an answer, from the challenge or from the end of the pause under way then.
    function window() external view returns (uint64);
}
