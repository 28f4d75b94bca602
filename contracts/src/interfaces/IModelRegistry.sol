// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChallenges} from "./IChallenges.sol";

/// @title Which versions of a model may be used: where each comes from, who approved it, and until when.
/// @notice A version is named by keccak256(abi.encode(uint256 chain id, address this, Version version)), so that its
/// name holds its parents' names and with them its whole ancestry. Its submitting organisation moves it through draft,
/// candidate and review; reviewers of other organisations approve it, k of them and every required role among them. A
/// reviewer is named by its own organisation and by nobody else. Nobody administers this contract.
/// @dev Messages are EIP-712 in the domain of this contract:
/// SubmitVersion(bytes32 versionId)
/// MoveVersion(bytes32 versionId,uint8 state,uint64 nonce)
/// RegisterReviewer(bytes32 organisation,address reviewer,uint8 role,uint64 validUntil,uint64 nonce)
/// RevokeReviewer(address reviewer,uint64 nonce)
/// CancelApprovals(address reviewer,uint64 leastNonce)
/// Approval(bytes32 versionId,uint8 decision,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)
/// Disposition(bytes32 versionId,bytes32 dataset,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)
/// The first four are signed by the admin of an organisation, the others by reviewers. Who would sign may also send the
/// transaction itself with an empty signature, but for the last two.
interface IModelRegistry {
    enum State {
        Unknown,
        Draft,
        Candidate,
        InReview,
        Approved,
        Deployed,
        Suspended,
        Revoked,
        Superseded,
        Tainted
    }

    enum EdgeKind {
        None,
        Round,
        Merge,
        FineTune,
        Quantize,
        Import,
        Rollback,
        Unlearn
    }

    /// @param parent a version of this registry; of an import, the digest of what was imported
    struct Edge {
        bytes32 parent;
        EdgeKind kind;
    }

    /// @param organisation who submits it
    /// @param model digest of the model
    /// @param bundle digest of what is released with it
    /// @param roundHash the link that sealed the model; zero where it was not trained here, then it has parents
    /// @param datasetsRoot Merkle root over keccak256(keccak256(abi.encode(bytes32 dataset))) of the datasets that it was
    /// trained on, zero for none; those of its ancestors stand there
    struct Version {
        bytes32 organisation;
        bytes32 model;
        bytes32 bundle;
        bytes32 roundHash;
        bytes32 datasetsRoot;
        Edge[] parents;
    }

    /// @param reviewSince signatures before this second count no more: review began, or it was suspended or tainted
    /// @param approvedUntil the earliest end of the approvals
    /// @param moves how often its organisation moved it
    struct Status {
        State state;
        uint64 reviewSince;
        uint64 approvedUntil;
        uint64 moves;
        bytes32 organisation;
    }

    /// @param leastNonce approvals with a lower nonce were taken back
    struct Reviewer {
        bytes32 organisation;
        uint8 role;
        uint64 validUntil;
        uint64 leastNonce;
    }

    /// @dev What an Approval or a Disposition says beyond its subject.
    /// @param meaning digest of the sentence that the signer saw
    /// @param evidence digest of the report that it rests on
    struct Vote {
        address signer;
        uint8 role;
        bytes32 meaning;
        bytes32 evidence;
        uint64 signedAt;
        uint64 validUntil;
        uint64 nonce;
        bytes signature;
    }

    event VersionSubmitted(bytes32 indexed versionId, bytes32 indexed organisation, Version version, bytes signature);
    event VersionMoved(bytes32 indexed versionId, State from, State to, bytes signature);
    /// @param votes keccak256(abi.encode(Vote[] votes)) of what stands in the transaction
    event VersionDecided(bytes32 indexed versionId, uint8 decision, State state, uint64 approvedUntil, bytes32 votes);
    event VersionTainted(bytes32 indexed versionId, bytes32 indexed dataset, bytes32 indexed ancestor);
    event VersionDisposed(bytes32 indexed versionId, bytes32 indexed dataset, bytes32 votes);
    event ReviewerRegistered(
        bytes32 indexed organisation, address indexed reviewer, uint8 role, uint64 validUntil, uint64 nonce, bytes signature
    );
    event ReviewerRevoked(bytes32 indexed organisation, address indexed reviewer, uint64 nonce, bytes signature);
    event ApprovalsCancelled(address indexed reviewer, uint64 leastNonce, bytes signature);

    error ZeroValue();
    /// @dev A quorum of none or of more than MAX_VOTES, or roles that it cannot cover.
    error WrongQuorum(uint256 quorum, uint256 roles);
    error VersionExists(bytes32 versionId);
    error UnknownVersion(bytes32 versionId);
    error UnknownOrganisation(bytes32 organisation);
    error NotAuthorised(address admin);
    error WrongNonce(uint64 expected, uint64 got);
    /// @dev The link proven is not the one that the version names, or sealed another model.
    error OtherModel(bytes32 roundHash);
    error WrongEdge(uint256 index);
    error WrongMove(State from, State to);
    error WrongState(State got);
    error WrongDecision(uint8 got);
    error ReviewerExists(address reviewer);
    error NotReviewer(address signer, uint8 role);
    error TooFewVotes(uint256 expected, uint256 got);
    error TooManyVotes(uint256 limit, uint256 got);
    error OwnModel(address signer);
    error OrganisationVotedTwice(bytes32 organisation);
    /// @dev Signed before this review or in the future, expired, or taken back.
    error VoteNotValid(address signer);
    /// @dev The votes lack a required role: one bit a role.
    error RoleMissing(uint256 expected, uint256 got);
    error ApprovalExpired(uint64 since);
    /// @dev A version of the path is no parent of the one before it.
    error BrokenPath(uint256 index);
    error NotWithdrawn(bytes32 dataset);
    error AlreadyDisposed(bytes32 versionId, bytes32 dataset);
    error WrongProof();

    /// @notice Adds a version as a draft; tainted, if a parent is.
    /// @param records proof of the link that sealed the model, none where roundHash is zero
    function submit(Version calldata version, IChallenges.LinkRecord[] calldata records, bytes calldata signature)
        external
        returns (bytes32 versionId);

    /// @notice Moves a version: draft, candidate and review one step forth or back, approved to deployed, approved or
    /// deployed to suspended or superseded, anything to revoked. By its organisation.
    function move(bytes32 versionId, State state, uint64 nonce, bytes calldata signature) external;

    /// @notice Lets reviewers decide: 1 approve what is in review or suspended, 2 send back what is in review, 3 suspend
    /// what is approved or deployed, 4 revoke. A suspension takes one reviewer of any organisation, the others a quorum.
    function decide(bytes32 versionId, uint8 decision, Vote[] calldata votes) external;

    /// @notice Shows that a version descends from a dataset whose consent is withdrawn. It loses its approval, and gets
    /// none until a disposition is signed. Anyone.
    /// @param path from the version to the ancestor (itself, too) beneath whose datasetsRoot the dataset stands
    function taint(Version[] calldata path, bytes32 dataset, bytes32[] calldata proof) external;

    /// @notice Records what a quorum decided about a withdrawn dataset, which must stand behind the version. The version is a
    /// candidate again, and this dataset taints it no more.
    /// @param path from the version to the ancestor (itself, too) beneath whose datasetsRoot the dataset stands
    function dispose(Version[] calldata path, bytes32 dataset, bytes32[] calldata proof, Vote[] calldata votes) external;

    /// @notice Adds a reviewer with its one role, for ever in this organisation. By its organisation.
    function registerReviewer(
        bytes32 organisation,
        address reviewer,
        uint8 role,
        uint64 validUntil,
        uint64 nonce,
        bytes calldata signature
    ) external;

    /// @notice Ends a reviewer's time now. By its organisation.
    function revokeReviewer(address reviewer, uint64 nonce, bytes calldata signature) external;

    /// @notice Takes back all votes of a reviewer below a nonce that were not counted yet. By the reviewer.
    function cancelApprovals(address reviewer, uint64 leastNonce, bytes calldata signature) external;

    function versionIdOf(Version calldata version) external view returns (bytes32);

    function statusOf(bytes32 versionId) external view returns (Status memory);

    /// @notice Whether the version is approved or deployed, and its approvals have not expired.
    function isReleased(bytes32 versionId) external view returns (bool);

    function reviewerOf(address reviewer) external view returns (Reviewer memory);

    /// @notice The last nonce that an organisation used for its reviewers.
    function nonceOf(bytes32 organisation) external view returns (uint64);

    function isDisposed(bytes32 versionId, bytes32 dataset) external view returns (bool);

    /// @notice Fewest reviewers, each of another organisation.
    function quorum() external view returns (uint256);

    /// @notice Roles that must be among them: bit r for role r.
    function requiredRoles() external view returns (uint256);

    function challenges() external view returns (IChallenges);
}
