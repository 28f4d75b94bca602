// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChallenges} from "../src/interfaces/IChallenges.sol";
import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {Statements} from "../src/Statements.sol";
import {Record} from "./Record.sol";

/// @dev A model registry that needs three reviewers with the roles 1 and 2 among them, and a version to approve.
abstract contract ReleaseWorld is Record {
    bytes32 internal constant APPROVAL = keccak256(
        "Approval(bytes32 versionId,uint8 decision,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)"
    );
    bytes32 internal constant DISPOSITION = keccak256(
        "Disposition(bytes32 versionId,bytes32 dataset,uint8 role,bytes32 meaning,bytes32 evidence,uint64 signedAt,uint64 validUntil,uint64 nonce)"
    );
    bytes32 internal constant DATASET = keccak256("dataset");
    uint8 internal constant APPROVE = 1;
    uint8 internal constant SEND_BACK = 2;
    uint8 internal constant SUSPEND = 3;
    uint8 internal constant REVOKE = 4;
    uint256 internal constant REVIEWERS = 4;
    uint256 internal constant ROLES = 6; // bits 1 and 2

    IModelRegistry internal models;

    function setUp() public virtual override {
        super.setUp();
        models = modelsOf(3);
        for (uint256 i = 0; i < REVIEWERS; ++i) {
            vm.prank(OPERATOR);
            registry.addOrganisation(house(i), admin(i));
            addReviewer(house(i), admin(i), vm.addr(reviewerKey(i)), roleOf(i));
        }
        addReviewer(SITE, SITE_ADMIN, device, 1);
    }

    function modelsOf(uint256 quorum) internal returns (IModelRegistry) {
        return IModelRegistry(deployed("ModelRegistry", abi.encode(challenges, quorum, ROLES)));
    }

    function house(uint256 i) internal pure returns (bytes32) {
        return keccak256(abi.encode("house", i));
    }

    function admin(uint256 i) internal pure returns (address) {
        return address(uint160(0xAD0 + i));
    }

    function reviewerKey(uint256 i) internal pure returns (uint256) {
        return uint256(keccak256(abi.encode("reviewer", i)));
    }

    function roleOf(uint256 i) internal pure returns (uint8) {
        return uint8(1 + i % 3);
    }

    function addReviewer(bytes32 organisation, address by, address reviewer, uint8 role) internal {
        uint64 nonce = models.nonceOf(organisation) + 1;
        vm.prank(by);
        models.registerReviewer(organisation, reviewer, role, END, nonce, "");
    }

    function versionOf(bytes32 model, bytes32 roundHash) internal pure returns (IModelRegistry.Version memory version) {
        (version.organisation, version.model, version.bundle) = (SITE, model, keccak256("bundle"));
        (version.roundHash, version.datasetsRoot) = (roundHash, doubly(abi.encode(DATASET)));
    }

    /// @dev A version that was sealed, as a draft.
    function submitted() internal returns (IModelRegistry.Version memory version, bytes32 id) {
        version = versionOf(dense("model"), sealRoots(0, 0, 1));
        vm.prank(SITE_ADMIN);
        id = models.submit(version, from(last), "");
    }

    function child(bytes32 parent, IModelRegistry.EdgeKind kind)
        internal
        pure
        returns (IModelRegistry.Version memory version)
    {
        version = versionOf(keccak256("child"), 0);
        version.datasetsRoot = 0;
        version.parents = new IModelRegistry.Edge[](1);
        version.parents[0] = IModelRegistry.Edge(parent, kind);
    }

    function submit(IModelRegistry.Version memory version) internal returns (bytes32) {
        vm.prank(SITE_ADMIN);
        return models.submit(version, none(), "");
    }

    function move(bytes32 id, IModelRegistry.State state) internal {
        uint64 nonce = models.statusOf(id).moves + 1;
        vm.prank(SITE_ADMIN);
        models.move(id, state, nonce, "");
    }

    function inReview() internal returns (IModelRegistry.Version memory version, bytes32 id) {
        (version, id) = submitted();
        review(id);
    }

    function review(bytes32 id) internal {
        if (models.statusOf(id).state == IModelRegistry.State.Draft) move(id, IModelRegistry.State.Candidate);
        move(id, IModelRegistry.State.InReview);
    }

    function vote(uint256 key, uint8 role) internal view returns (IModelRegistry.Vote memory ballot) {
        (ballot.signer, ballot.role) = (vm.addr(key), role);
        (ballot.meaning, ballot.evidence) = (dense("meaning"), dense("evidence"));
        (ballot.signedAt, ballot.validUntil) = (uint64(block.timestamp), uint64(block.timestamp) + 30 days);
        ballot.nonce = 1;
    }

    function sign(IModelRegistry.Vote memory ballot, uint256 key, bytes32 typeHash, bytes32 id, bytes32 about)
        internal
        view
    {
        bytes memory said = abi.encode(
            ballot.role, ballot.meaning, ballot.evidence, ballot.signedAt, ballot.validUntil, ballot.nonce
        );
        bytes32 structHash = keccak256(bytes.concat(abi.encode(typeHash, id, about), said));
        ballot.signature = signed(key, typed(address(models), structHash));
    }

    function ballots(bytes32 id, uint8 decision, uint256 count)
        internal
        view
        returns (IModelRegistry.Vote[] memory votes)
    {
        votes = new IModelRegistry.Vote[](count);
        for (uint256 i = 0; i < count; ++i) {
            votes[i] = vote(reviewerKey(i), roleOf(i));
            sign(votes[i], reviewerKey(i), APPROVAL, id, bytes32(uint256(decision)));
        }
    }

    function dispositions(bytes32 id) internal view returns (IModelRegistry.Vote[] memory votes) {
        votes = new IModelRegistry.Vote[](3);
        for (uint256 i = 0; i < 3; ++i) {
            votes[i] = vote(reviewerKey(i), roleOf(i));
            sign(votes[i], reviewerKey(i), DISPOSITION, id, DATASET);
        }
    }

    function grantAndWithdraw() internal {
        IFedRegistry.ConsentGrant memory grant;
        (grant.dataset, grant.federation) = (DATASET, FEDERATION);
        (grant.from, grant.until, grant.nominalSize, grant.nonce) = (START, END, 303, 3);
        vm.startPrank(SITE_ADMIN);
        registry.registerDataset(IFedRegistry.RegisterDataset(DATASET, SITE, 303, 2), "");
        registry.grantConsent(grant, "");
        registry.withdrawConsent(IFedRegistry.ConsentWithdraw(DATASET, 0, 1, 4), "");
        vm.stopPrank();
    }

    function requireState(bytes32 id, IModelRegistry.State expected) internal view {
        same(uint256(models.statusOf(id).state), uint256(expected), "state");
    }
}

contract ModelRegistryTest is ReleaseWorld {
    function test_three_reviewers_of_three_organisations_release_a_version_until_the_first_expiry() public {
        (, bytes32 id) = inReview();
        models.decide(id, APPROVE, ballots(id, APPROVE, 3));
        isTrue(models.isReleased(id), "released");
        move(id, IModelRegistry.State.Deployed);
        vm.warp(START + 30 days);
        isTrue(!models.isReleased(id), "expired");
    }

    function test_an_expired_approval_is_not_deployed() public {
        (, bytes32 id) = inReview();
        models.decide(id, APPROVE, ballots(id, APPROVE, 3));
        vm.warp(START + 30 days);
        vm.prank(SITE_ADMIN);
        vm.expectPartialRevert(IModelRegistry.ApprovalExpired.selector);
        models.move(id, IModelRegistry.State.Deployed, 3, "");
    }

    function test_a_reviewer_approving_its_own_organisations_model() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        votes[0] = vote(DEVICE_KEY, 1);
        sign(votes[0], DEVICE_KEY, APPROVAL, id, bytes32(uint256(APPROVE)));
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.OwnModel.selector, device));
    }

    function test_votes_repeated() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        votes[2] = votes[0];
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.OrganisationVotedTwice.selector, house(0)));
        uint256 second = uint256(keccak256("second reviewer of one house"));
        addReviewer(house(0), admin(0), vm.addr(second), 3);
        votes[2] = vote(second, 3);
        sign(votes[2], second, APPROVAL, id, bytes32(uint256(APPROVE)));
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.OrganisationVotedTwice.selector, house(0)));
    }

    function test_fewer_than_the_quorum_or_a_role_missing() public {
        (, bytes32 id) = inReview();
        refused(id, APPROVE, ballots(id, APPROVE, 2), abi.encodeWithSelector(IModelRegistry.TooFewVotes.selector, 3, 2));
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 4);
        votes[1] = votes[3]; // roles 1, 1 and 3
        IModelRegistry.Vote[] memory three = new IModelRegistry.Vote[](3);
        (three[0], three[1], three[2]) = (votes[0], votes[1], votes[2]);
        refused(id, APPROVE, three, abi.encodeWithSelector(IModelRegistry.RoleMissing.selector, 6, 10));
        votes = new IModelRegistry.Vote[](17);
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.TooManyVotes.selector, 16, 17));
    }

    function test_replay_for_another_version_decision_registry_or_chain() public {
        (, bytes32 id) = inReview();
        bytes32 other = submit(child(id, IModelRegistry.EdgeKind.FineTune));
        review(other);
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        bytes memory wrong = abi.encodeWithSelector(Statements.WrongSignature.selector, votes[0].signer);
        refused(other, APPROVE, votes, wrong);
        refused(id, SEND_BACK, votes, wrong);
        vm.chainId(block.chainid + 1);
        refused(id, APPROVE, votes, wrong);
    }

    function test_a_changed_member_voids_the_signature(uint8 which, uint256 noise) public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        noise |= 1;
        if (which % 5 == 0) votes[1].meaning ^= bytes32(noise);
        if (which % 5 == 1) votes[1].evidence ^= bytes32(noise);
        if (which % 5 == 2) votes[1].validUntil += uint64(1 + noise % 1000);
        if (which % 5 == 3) votes[1].nonce += uint64(1 + noise % 1000);
        if (which % 5 == 4) votes[1].signature[noise % 64] ^= bytes1(0x01);
        vm.expectPartialRevert(Statements.WrongSignature.selector);
        models.decide(id, APPROVE, votes);
    }

    function test_votes_that_are_old_early_expired_or_taken_back_do_not_count() public {
        (, bytes32 id) = submitted();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        bytes memory invalid = abi.encodeWithSelector(IModelRegistry.VoteNotValid.selector, votes[0].signer);
        vm.warp(START + 1);
        review(id);
        refused(id, APPROVE, votes, invalid); // signed before this review
        votes = ballots(id, APPROVE, 3);
        vm.warp(START);
        refused(id, APPROVE, votes, invalid); // signed in the future
        vm.warp(START + 1 + 30 days);
        refused(id, APPROVE, votes, invalid); // expired
        vm.warp(START + 2);
        cancel(votes[0].signer);
        refused(id, APPROVE, votes, invalid); // taken back
    }

    function test_a_reviewer_that_was_revoked_or_has_another_role_does_not_count() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        votes[0].role = 2;
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.NotReviewer.selector, votes[0].signer, 2));
        votes[0].role = 1;
        vm.prank(admin(0));
        models.revokeReviewer(votes[0].signer, 2, "");
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.NotReviewer.selector, votes[0].signer, 1));
        vm.prank(admin(0));
        vm.expectPartialRevert(IModelRegistry.NotReviewer.selector);
        models.revokeReviewer(votes[0].signer, 3, "");
    }

    function test_griefing_by_long_signatures() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        votes[0].signature = new bytes(24_576);
        refused(id, APPROVE, votes, abi.encodeWithSelector(Statements.SignatureTooLong.selector, 1024, 24_576));
    }

    function test_one_reviewer_suspends_and_a_new_quorum_releases_again() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory first = ballots(id, APPROVE, 3);
        models.decide(id, APPROVE, first);
        IModelRegistry.Vote[] memory stop = ballots(id, SUSPEND, 1);
        models.decide(id, SUSPEND, stop);
        isTrue(!models.isReleased(id), "suspended");
        refused(id, APPROVE, first, abi.encodeWithSelector(IModelRegistry.VoteNotValid.selector, first[0].signer));
        vm.warp(START + 1);
        models.decide(id, APPROVE, ballots(id, APPROVE, 3));
        isTrue(models.isReleased(id), "released again");
        refused(id, SUSPEND, stop, abi.encodeWithSelector(IModelRegistry.VoteNotValid.selector, stop[0].signer));
    }

    function test_a_quorum_sends_back_or_revokes_for_good() public {
        (, bytes32 id) = inReview();
        models.decide(id, SEND_BACK, ballots(id, SEND_BACK, 3));
        requireState(id, IModelRegistry.State.Candidate);
        vm.warp(START + 1);
        models.decide(id, REVOKE, ballots(id, REVOKE, 3));
        requireState(id, IModelRegistry.State.Revoked);
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        refused(id, APPROVE, votes, abi.encodeWithSelector(IModelRegistry.WrongState.selector, IModelRegistry.State.Revoked));
    }

    function test_withdrawing_a_dataset_taints_and_blocks_approval_until_a_disposition_is_signed() public {
        (IModelRegistry.Version memory version, bytes32 id) = inReview();
        models.decide(id, APPROVE, ballots(id, APPROVE, 3));
        IModelRegistry.Version[] memory path = pathOf(version);
        vm.expectPartialRevert(IModelRegistry.NotWithdrawn.selector);
        models.taint(path, DATASET, new bytes32[](0));
        grantAndWithdraw();
        vm.prank(STRANGER);
        models.taint(path, DATASET, new bytes32[](0));
        isTrue(!models.isReleased(id), "tainted");
        vm.warp(START + 1);
        vm.expectPartialRevert(IModelRegistry.WrongState.selector);
        models.decide(id, APPROVE, new IModelRegistry.Vote[](3));
        models.dispose(path, DATASET, new bytes32[](0), dispositions(id));
        vm.expectPartialRevert(IModelRegistry.AlreadyDisposed.selector);
        models.taint(path, DATASET, new bytes32[](0));
        vm.warp(START + 2);
        review(id);
        models.decide(id, APPROVE, ballots(id, APPROVE, 3));
        isTrue(models.isReleased(id), "released after the disposition");
    }

    function test_descendants_are_tainted_along_their_path() public {
        (IModelRegistry.Version memory version, bytes32 id) = submitted();
        IModelRegistry.Version memory tuned = child(id, IModelRegistry.EdgeKind.FineTune);
        bytes32 tunedId = submit(tuned);
        IModelRegistry.Version memory small = child(tunedId, IModelRegistry.EdgeKind.Quantize);
        bytes32 smallId = submit(small);
        grantAndWithdraw();
        IModelRegistry.Version[] memory path = new IModelRegistry.Version[](3);
        (path[0], path[1], path[2]) = (small, version, version);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BrokenPath.selector, 1));
        models.taint(path, DATASET, new bytes32[](0));
        path[1] = tuned;
        models.taint(path, DATASET, new bytes32[](0));
        requireState(smallId, IModelRegistry.State.Tainted);
        requireState(tunedId, IModelRegistry.State.Draft);
        requireState(submit(child(smallId, IModelRegistry.EdgeKind.Unlearn)), IModelRegistry.State.Tainted);
    }

    function test_a_dataset_that_is_not_in_the_ancestry_taints_nothing(bytes32 dataset, bytes32[] memory proof) public {
        vm.assume(dataset != DATASET);
        (IModelRegistry.Version memory version,) = submitted();
        grantAndWithdraw();
        IModelRegistry.Version[] memory path = pathOf(version);
        vm.expectRevert(IModelRegistry.WrongProof.selector);
        models.taint(path, dataset, proof);
    }

    function test_a_disposition_is_about_a_dataset_behind_the_very_version() public {
        (IModelRegistry.Version memory version, bytes32 id) = submitted();
        grantAndWithdraw();
        IModelRegistry.Version[] memory path = pathOf(version);
        bytes32[] memory proof = new bytes32[](0);
        models.taint(path, DATASET, proof);
        IModelRegistry.Version memory tuned = child(id, IModelRegistry.EdgeKind.FineTune);
        bytes32 tunedId = submit(tuned);
        vm.warp(START + 1);
        IModelRegistry.Vote[] memory votes = dispositions(id);
        vm.expectRevert(IModelRegistry.WrongProof.selector);
        models.dispose(path, keccak256("another dataset"), proof, votes);
        IModelRegistry.Version[] memory none_ = new IModelRegistry.Version[](0);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BrokenPath.selector, 0));
        models.dispose(none_, DATASET, proof, votes);
        IModelRegistry.Version[] memory longer = new IModelRegistry.Version[](2);
        (longer[0], longer[1]) = (tuned, tuned);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.BrokenPath.selector, 1));
        models.dispose(longer, DATASET, proof, votes);
        longer[1] = version;
        vm.expectPartialRevert(Statements.WrongSignature.selector); // the parent's votes
        models.dispose(longer, DATASET, proof, votes);
        models.dispose(longer, DATASET, proof, dispositions(tunedId));
        requireState(tunedId, IModelRegistry.State.Candidate);
        requireState(id, IModelRegistry.State.Tainted);
    }

    function test_an_origin_is_a_sealed_link_of_this_very_model_or_a_known_parent() public {
        (IModelRegistry.Version memory version, bytes32 id) = submitted();
        vm.startPrank(SITE_ADMIN);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.VersionExists.selector, id));
        models.submit(version, from(1), "");
        version.model = keccak256("another model");
        vm.expectPartialRevert(IModelRegistry.OtherModel.selector);
        models.submit(version, from(1), "");
        version.roundHash = 0;
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.WrongEdge.selector, 0));
        models.submit(version, none(), "");
        version = child(keccak256("unknown"), IModelRegistry.EdgeKind.Merge);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.WrongEdge.selector, 0));
        models.submit(version, none(), "");
        models.submit(child(keccak256("anything"), IModelRegistry.EdgeKind.Import), none(), "");
        vm.stopPrank();
    }

    function test_phases_opened_by_outsiders(address sender) public {
        vm.assume(sender != SITE_ADMIN && sender != admin(0));
        (IModelRegistry.Version memory version, bytes32 id) = submitted();
        version.bundle = keccak256("another bundle");
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NotAuthorised.selector, SITE_ADMIN));
        models.submit(version, from(1), "");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NotAuthorised.selector, SITE_ADMIN));
        models.move(id, IModelRegistry.State.Candidate, 1, "");
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NotAuthorised.selector, admin(0)));
        models.registerReviewer(house(0), sender == address(0) ? STRANGER : sender, 1, END, 2, "");
        vm.stopPrank();
    }

    function test_an_organisation_acts_by_signed_messages_that_anyone_relays() public {
        uint256 key = uint256(keccak256("admin of a new house"));
        vm.prank(OPERATOR);
        registry.addOrganisation(keccak256("new house"), vm.addr(key));
        IModelRegistry.Version memory version = versionOf(dense("model"), sealRoots(0, 0, 1));
        version.organisation = keccak256("new house");
        bytes32 id = models.versionIdOf(version);
        bytes memory signature = signedBy(key, abi.encode(keccak256("SubmitVersion(bytes32 versionId)"), id));
        models.submit(version, from(last), signature);
        signature = signedBy(key, abi.encode(keccak256("MoveVersion(bytes32 versionId,uint8 state,uint64 nonce)"), id, 2, 1));
        models.move(id, IModelRegistry.State.Candidate, 1, signature);
        vm.expectPartialRevert(IModelRegistry.WrongMove.selector);
        models.move(id, IModelRegistry.State.Candidate, 1, signature);
        move2(id, signature);
    }

    function test_states_move_along_the_documented_arrows_only(uint8 from_, uint8 to_) public {
        IModelRegistry.State to = IModelRegistry.State(to_ % 10);
        (, bytes32 id) = submitted();
        if (from_ % 3 > 0) move(id, IModelRegistry.State.Candidate);
        if (from_ % 3 > 1) move(id, IModelRegistry.State.InReview);
        IModelRegistry.State present = models.statusOf(id).state;
        bool isStep = to == IModelRegistry.State.Revoked
            || (uint8(to) >= 1 && uint8(to) <= 3 && (uint8(to) == uint8(present) + 1 || uint8(to) + 1 == uint8(present)));
        uint64 nonce = models.statusOf(id).moves + 1;
        vm.prank(SITE_ADMIN);
        if (!isStep) vm.expectRevert(abi.encodeWithSelector(IModelRegistry.WrongMove.selector, present, to));
        models.move(id, to, nonce, "");
    }

    function test_a_quorum_that_cannot_be_met_is_refused() public {
        vm.expectRevert();
        this.deploy(0, 0);
        vm.expectRevert();
        this.deploy(17, 0);
        vm.expectRevert();
        this.deploy(3, (1 << 17) - 1);
    }

    function deploy(uint256 quorum, uint256 roles) external {
        deployed("ModelRegistry", abi.encode(challenges, quorum, roles));
    }

    function cancel(address reviewer) private {
        vm.expectRevert(abi.encodeWithSelector(IModelRegistry.NotAuthorised.selector, reviewer));
        models.cancelApprovals(reviewer, 2, "");
        bytes32 typeHash = keccak256("CancelApprovals(address reviewer,uint64 leastNonce)");
        models.cancelApprovals(reviewer, 2, signedBy(reviewerKey(0), abi.encode(typeHash, reviewer, 2)));
    }

    function move2(bytes32 id, bytes memory signature) private {
        vm.expectPartialRevert(IModelRegistry.WrongNonce.selector);
        models.move(id, IModelRegistry.State.InReview, 1, signature);
        vm.expectPartialRevert(Statements.WrongSignature.selector);
        models.move(id, IModelRegistry.State.InReview, 2, signature);
    }

    function signedBy(uint256 key, bytes memory message) private view returns (bytes memory) {
        return signed(key, typed(address(models), keccak256(message)));
    }

    function pathOf(IModelRegistry.Version memory version) private pure returns (IModelRegistry.Version[] memory path) {
        path = new IModelRegistry.Version[](1);
        path[0] = version;
    }

    function refused(bytes32 id, uint8 decision, IModelRegistry.Vote[] memory votes, bytes memory refusal) private {
        vm.expectRevert(refusal);
        models.decide(id, decision, votes);
    }
}
