// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Statements} from "./Statements.sol";
import {IChallenges} from "./interfaces/IChallenges.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {IModelRegistry} from "./interfaces/IModelRegistry.sol";

/// @title The releases of one federation; IModelRegistry documents it
contract ModelRegistry is IModelRegistry {
    uint256 public constant MAX_VOTES = 16;

    bytes32 private constant SUBMIT_VERSION = keccak256("SubmitVersion(bytes32 versionId)");
    bytes32 private constant MOVE_VERSION = keccak256("MoveVersion(bytes32 versionId,uint8 state,uint64 nonce)");
    bytes32 private constant REGISTER_REVIEWER = keccak256(
        "RegisterReviewer(bytes32 organisation,address reviewer,uint8 role,uint64 validUntil,uint64 nonce)"
    );
    bytes32 private constant REVOKE_REVIEWER = keccak256("RevokeReviewer(address reviewer,uint64 nonce)");
    bytes32 private constant CANCEL_APPROVALS = keccak256("CancelApprovals(address reviewer,uint64 leastNonce)");
    bytes32 private constant APPROVAL = keccak256(
        "Approval(bytes32 versionId,uint8 decision,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)"
    );
    bytes32 private constant DISPOSITION = keccak256(
        "Disposition(bytes32 versionId,bytes32 dataset,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)"
    );
    uint8 private constant APPROVE = 1;
    uint8 private constant SEND_BACK = 2;
    uint8 private constant SUSPEND = 3;
    uint8 private constant REVOKE = 4;

    /// @dev The first three members of what is signed: of an Approval, or of a Disposition.
    struct Subject {
        bytes32 typeHash;
        bytes32 versionId;
        bytes32 about;
    }

    /// @dev One slot each: an approval reads one of the version and one of each reviewer, so that organisations stand here
    /// by the number that they got with their first version or reviewer.
    struct PackedStatus {
        State state;
        uint64 reviewSince;
        uint64 approvedUntil;
        uint64 moves;
        uint32 organisation;
    }

    struct PackedReviewer {
        uint32 organisation;
        uint8 role;
        uint64 validUntil;
        uint64 leastNonce;
    }

    IChallenges public immutable challenges;
    uint256 public immutable quorum;
    uint256 public immutable requiredRoles;
    IFedRegistry private immutable _registry;

    mapping(bytes32 versionId => PackedStatus) private _versions;
    mapping(address reviewer => PackedReviewer) private _reviewers;
    mapping(bytes32 organisation => uint32 number) private _numbers;
    bytes32[] private _organisations; // number n at n - 1
    mapping(bytes32 organisation => uint64) public nonceOf;
    mapping(bytes32 versionId => mapping(bytes32 dataset => bool)) public isDisposed;

    constructor(IChallenges challenges_, uint256 quorum_, uint256 requiredRoles_) {
        uint256 roles = 0;
        for (uint256 rest = requiredRoles_; rest != 0; rest &= rest - 1) {
            ++roles;
        }
        if (quorum_ == 0 || quorum_ > MAX_VOTES || roles > MAX_VOTES) revert WrongQuorum(quorum_, roles);
        challenges = challenges_;
        quorum = quorum_;
        requiredRoles = requiredRoles_;
        _registry = IFedRegistry(challenges_.rounds().registry());
    }

    /// @inheritdoc IModelRegistry
    function submit(Version calldata version, IChallenges.LinkRecord[] calldata records, bytes calldata signature)
        external
        returns (bytes32 versionId)
    {
        versionId = versionIdOf(version);
        if (_versions[versionId].state != State.Unknown) revert VersionExists(versionId);
        _requireOrigin(version, records);
        bool isTainted = _requireParents(version.parents);
        _authorise(version.organisation, keccak256(abi.encode(SUBMIT_VERSION, versionId)), signature);

        _versions[versionId] = PackedStatus({
            state: isTainted ? State.Tainted : State.Draft,
            reviewSince: uint64(block.timestamp),
            approvedUntil: 0,
            moves: 0,
            organisation: _numbered(version.organisation)
        });

        emit VersionSubmitted(versionId, version.organisation, version, signature);
    }

    /// @inheritdoc IModelRegistry
    function move(bytes32 versionId, State state, uint64 nonce, bytes calldata signature) external {
        PackedStatus storage version = _known(versionId);
        State from = version.state;
        if (!_mayMove(from, state)) revert WrongMove(from, state);
        if (state == State.Deployed && block.timestamp >= version.approvedUntil) {
            revert ApprovalExpired(version.approvedUntil);
        }
        if (nonce != version.moves + 1) revert WrongNonce(version.moves + 1, nonce);
        _authorise(_organisationOf(version.organisation), keccak256(abi.encode(MOVE_VERSION, versionId, state, nonce)), signature);

        (version.state, version.moves) = (state, nonce);
        if (state == State.InReview || state == State.Suspended) {
            version.reviewSince = _later(version.reviewSince, uint64(block.timestamp));
        }

        emit VersionMoved(versionId, from, state, signature);
    }

    /// @inheritdoc IModelRegistry
    function decide(bytes32 versionId, uint8 decision, Vote[] calldata votes) external {
        PackedStatus memory version = _known(versionId);
        State next = _decided(version.state, decision);
        Subject memory subject = Subject(APPROVAL, versionId, bytes32(uint256(decision)));
        uint64 validUntil = decision == SUSPEND ? _one(votes, subject) : _counted(votes, version, subject);

        version.state = next;
        if (decision == APPROVE) version.approvedUntil = validUntil;
        else version.reviewSince = _nextSecond();
        _versions[versionId] = version;

        emit VersionDecided(versionId, decision, next, version.approvedUntil, keccak256(abi.encode(votes)));
    }

    /// @inheritdoc IModelRegistry
    function taint(Version[] calldata path, bytes32 dataset, bytes32[] calldata proof) external {
        if (path.length == 0) revert BrokenPath(0);
        bytes32 versionId = versionIdOf(path[0]);
        PackedStatus storage version = _known(versionId);
        if (version.state == State.Revoked || version.state == State.Tainted) revert WrongState(version.state);
        if (isDisposed[versionId][dataset]) revert AlreadyDisposed(versionId, dataset);
        bytes32 ancestor = _requireBehind(path, dataset, proof);
        uint64 withdrawnAt = _registry.consentOf(dataset).withdrawnAt;
        if (withdrawnAt == 0 || block.timestamp < withdrawnAt) revert NotWithdrawn(dataset);

        (version.state, version.reviewSince, version.approvedUntil) = (State.Tainted, _nextSecond(), 0);

        emit VersionTainted(versionId, dataset, ancestor);
    }

    /// @inheritdoc IModelRegistry
    function dispose(Version[] calldata path, bytes32 dataset, bytes32[] calldata proof, Vote[] calldata votes) external {
        if (path.length == 0) revert BrokenPath(0);
        bytes32 versionId = versionIdOf(path[0]);
        PackedStatus memory version = _known(versionId);
        if (version.state != State.Tainted) revert WrongState(version.state);
        _requireBehind(path, dataset, proof);
        _counted(votes, version, Subject(DISPOSITION, versionId, dataset));

        (version.state, version.reviewSince) = (State.Candidate, _nextSecond());
        _versions[versionId] = version;
        isDisposed[versionId][dataset] = true;

        emit VersionDisposed(versionId, dataset, keccak256(abi.encode(votes)));
    }

    /// @inheritdoc IModelRegistry
    function registerReviewer(
        bytes32 organisation,
        address reviewer,
        uint8 role,
        uint64 validUntil,
        uint64 nonce,
        bytes calldata signature
    ) external {
        if (reviewer == address(0)) revert ZeroValue();
        if (_reviewers[reviewer].organisation != 0) revert ReviewerExists(reviewer);
        bytes32 message = keccak256(abi.encode(REGISTER_REVIEWER, organisation, reviewer, role, validUntil, nonce));
        _use(organisation, nonce, message, signature);

        _reviewers[reviewer] = PackedReviewer(_numbered(organisation), role, validUntil, 0);

        emit ReviewerRegistered(organisation, reviewer, role, validUntil, nonce, signature);
    }

    /// @inheritdoc IModelRegistry
    function revokeReviewer(address reviewer, uint64 nonce, bytes calldata signature) external {
        PackedReviewer storage stored = _reviewers[reviewer];
        bytes32 organisation = _organisationOf(stored.organisation);
        if (block.timestamp >= stored.validUntil) revert NotReviewer(reviewer, stored.role);
        _use(organisation, nonce, keccak256(abi.encode(REVOKE_REVIEWER, reviewer, nonce)), signature);

        stored.validUntil = uint64(block.timestamp);

        emit ReviewerRevoked(organisation, reviewer, nonce, signature);
    }

    /// @inheritdoc IModelRegistry
    function cancelApprovals(address reviewer, uint64 leastNonce, bytes calldata signature) external {
        PackedReviewer storage stored = _reviewers[reviewer];
        if (stored.organisation == 0) revert NotReviewer(reviewer, 0);
        if (leastNonce <= stored.leastNonce) revert WrongNonce(stored.leastNonce + 1, leastNonce);
        _authoriseAs(reviewer, keccak256(abi.encode(CANCEL_APPROVALS, reviewer, leastNonce)), signature);

        stored.leastNonce = leastNonce;

        emit ApprovalsCancelled(reviewer, leastNonce, signature);
    }

    /// @inheritdoc IModelRegistry
    function statusOf(bytes32 versionId) external view returns (Status memory) {
        PackedStatus memory version = _versions[versionId];
        return Status({
            state: version.state,
            reviewSince: version.reviewSince,
            approvedUntil: version.approvedUntil,
            moves: version.moves,
            organisation: _organisationOf(version.organisation)
        });
    }

    /// @inheritdoc IModelRegistry
    function isReleased(bytes32 versionId) external view returns (bool) {
        PackedStatus storage version = _versions[versionId];
        bool isOut = version.state == State.Approved || version.state == State.Deployed;
        return isOut && block.timestamp < version.approvedUntil;
    }

    /// @inheritdoc IModelRegistry
    function reviewerOf(address reviewer) external view returns (Reviewer memory) {
        PackedReviewer memory stored = _reviewers[reviewer];
        return Reviewer(_organisationOf(stored.organisation), stored.role, stored.validUntil, stored.leastNonce);
    }

    /// @inheritdoc IModelRegistry
    function versionIdOf(Version calldata version) public view returns (bytes32) {
        return keccak256(abi.encode(block.chainid, address(this), version));
    }

    function _use(bytes32 organisation, uint64 nonce, bytes32 message, bytes calldata signature) private {
        uint64 expected = nonceOf[organisation] + 1;
        if (nonce != expected) revert WrongNonce(expected, nonce);
        _authorise(organisation, message, signature);
        nonceOf[organisation] = nonce;
    }

    function _numbered(bytes32 organisation) private returns (uint32 number) {
        number = _numbers[organisation];
        if (number == 0) {
            _organisations.push(organisation);
            number = uint32(_organisations.length);
            _numbers[organisation] = number;
        }
    }

    function _organisationOf(uint32 number) private view returns (bytes32) {
        return number == 0 ? bytes32(0) : _organisations[number - 1];
    }

    function _known(bytes32 versionId) private view returns (PackedStatus storage version) {
        version = _versions[versionId];
        if (version.state == State.Unknown) revert UnknownVersion(versionId);
    }

    function _authorise(bytes32 organisation, bytes32 structHash, bytes calldata signature) private view {
        address admin = _registry.organisationOf(organisation).admin;
        if (admin == address(0)) revert UnknownOrganisation(organisation);
        _authoriseAs(admin, structHash, signature);
    }

    function _authoriseAs(address signer, bytes32 structHash, bytes calldata signature) private view {
        if (signature.length > 0) Statements.check(signer, Statements.digest(address(this), structHash), signature);
        else if (msg.sender != signer) revert NotAuthorised(signer);
    }

    function _requireOrigin(Version calldata version, IChallenges.LinkRecord[] calldata records) private view {
        if (version.model == 0) revert ZeroValue();
        if (version.roundHash == 0) {
            if (version.parents.length == 0) revert WrongEdge(0);
        } else if (
            challenges.proven(records) != version.roundHash || records[0].link.modelDigest != version.model
        ) {
            revert OtherModel(version.roundHash);
        }
    }

    function _requireParents(Edge[] calldata parents) private view returns (bool isTainted) {
        for (uint256 i = 0; i < parents.length; ++i) {
            EdgeKind kind = parents[i].kind;
            State state = _versions[parents[i].parent].state;
            bool isKnown = kind == EdgeKind.Import ? parents[i].parent != 0 : state != State.Unknown;
            if (kind == EdgeKind.None || !isKnown) revert WrongEdge(i);
            isTainted = isTainted || state == State.Tainted;
        }
    }

    /// @dev The id of a version binds its parents and its datasets, so that a path and a proof need no state.
    function _requireBehind(Version[] calldata path, bytes32 dataset, bytes32[] calldata proof)
        private
        view
        returns (bytes32 ancestor)
    {
        ancestor = _ancestor(path);
        bytes32 root = path[path.length - 1].datasetsRoot;
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(dataset))));
        if (root == 0 || !MerkleProof.verifyCalldata(proof, root, leaf)) revert WrongProof();
    }

    function _ancestor(Version[] calldata path) private view returns (bytes32 id) {
        for (uint256 i = 1; i < path.length; ++i) {
            id = versionIdOf(path[i]);
            Edge[] calldata parents = path[i - 1].parents;
            uint256 place = 0;
            while (place < parents.length && parents[place].parent != id) ++place;
            if (place == parents.length) revert BrokenPath(i);
        }
        if (path.length == 1) id = versionIdOf(path[0]);
    }

    /// @dev Every required role, k distinct organisations, none of them the submitter's. Returns the first expiry.
    function _counted(Vote[] calldata votes, PackedStatus memory version, Subject memory subject)
        private
        view
        returns (uint64 validUntil)
    {
        if (votes.length < quorum) revert TooFewVotes(quorum, votes.length);
        if (votes.length > MAX_VOTES) revert TooManyVotes(MAX_VOTES, votes.length);
        uint32[] memory organisations = new uint32[](votes.length);
        bytes32 domain = Statements.domain(address(this));
        uint256 roles = 0;
        validUntil = type(uint64).max;
        for (uint256 i = 0; i < votes.length; ++i) {
            Vote calldata vote = votes[i];
            uint32 organisation = _checked(vote, subject, domain);
            if (organisation == version.organisation) revert OwnModel(vote.signer);
            if (vote.signedAt < version.reviewSince) revert VoteNotValid(vote.signer);
            for (uint256 j = 0; j < i; ++j) {
                if (organisations[j] == organisation) revert OrganisationVotedTwice(_organisationOf(organisation));
            }
            organisations[i] = organisation;
            roles |= 1 << vote.role;
            if (vote.validUntil < validUntil) validUntil = vote.validUntil;
        }
        if (roles & requiredRoles != requiredRoles) revert RoleMissing(requiredRoles, roles);
    }

    function _one(Vote[] calldata votes, Subject memory subject) private view returns (uint64) {
        if (votes.length != 1) revert TooFewVotes(1, votes.length);
        if (votes[0].signedAt < _versions[subject.versionId].reviewSince) revert VoteNotValid(votes[0].signer);
        _checked(votes[0], subject, Statements.domain(address(this)));
        return votes[0].validUntil;
    }

    function _checked(Vote calldata vote, Subject memory subject, bytes32 domain)
        private
        view
        returns (uint32 organisation)
    {
        PackedReviewer memory reviewer = _reviewers[vote.signer];
        organisation = reviewer.organisation;
        bool isReviewer = organisation != 0 && reviewer.role == vote.role && block.timestamp < reviewer.validUntil;
        if (!isReviewer) revert NotReviewer(vote.signer, vote.role);
        bool isTimely = vote.signedAt <= block.timestamp && block.timestamp < vote.validUntil;
        if (!isTimely || vote.nonce < reviewer.leastNonce) revert VoteNotValid(vote.signer);
        bytes32 structHash = keccak256(
            abi.encode(
                subject,
                vote.role,
                vote.meaning,
                vote.evidence,
                vote.signedAt,
                vote.validUntil,
                vote.nonce
            )
        );
        Statements.check(vote.signer, Statements.digestIn(domain, structHash), vote.signature);
    }

    /// @dev What was signed up to this very second was for what has just ended.
    function _nextSecond() private view returns (uint64) {
        return uint64(block.timestamp) + 1;
    }

    function _later(uint64 one, uint64 other) private pure returns (uint64) {
        return one > other ? one : other;
    }

    function _decided(State state, uint8 decision) private pure returns (State) {
        bool isOut = state == State.Approved || state == State.Deployed;
        bool isOpen = state == State.InReview || state == State.Suspended;
        if (decision == APPROVE && isOpen) return State.Approved;
        if (decision == SEND_BACK && state == State.InReview) return State.Candidate;
        if (decision == SUSPEND && isOut) return State.Suspended;
        if (decision == REVOKE && state != State.Revoked) return State.Revoked;
        if (decision < APPROVE || decision > REVOKE) revert WrongDecision(decision);
        revert WrongState(state);
    }

    function _mayMove(State from, State to) private pure returns (bool) {
        if (to == State.Draft) return from == State.Candidate;
        if (to == State.Candidate) return from == State.Draft || from == State.InReview;
        if (to == State.InReview) return from == State.Candidate;
        if (to == State.Deployed) return from == State.Approved;
        if (to == State.Suspended || to == State.Superseded) return from == State.Approved || from == State.Deployed;
        return to == State.Revoked && from != State.Revoked;
    }
}
