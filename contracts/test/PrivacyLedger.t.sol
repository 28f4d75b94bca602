// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {IPrivacyLedger} from "../src/interfaces/IPrivacyLedger.sol";
import {Statements} from "../src/Statements.sol";
import {Record} from "./Record.sol";

contract PrivacyLedgerTest is Record {
    bytes32 private constant CLIENT_UPDATE = keccak256(
        "ClientUpdate(bytes32 federation,bytes32 run,uint64 round,bytes32 baseModel,bytes32 updateCommit,bytes32 payloadCid,bytes32 dataset,bytes32 policy,uint32 weight,uint64 microEpsilonTotal,bytes32 dpParams,bytes32 codeDigest,bytes32 configDigest,bytes32 envDigest,uint64 nonce,uint64 deadline)"
    );
    bytes32 private constant DATASET = keccak256("dataset");
    bytes32 private constant POLICY = keccak256("policy");
    uint64 private constant GRANT = 8_000_000;
    uint64 private constant DELTA = 10_000_000;
    uint64 private constant UNBOUNDED = type(uint64).max;
    uint64 private constant DEADLINE = START + 100;
    string private constant UNIT = "example/lifetime";
    bytes private constant DP_PARAMS =
        '{"accountant":"prv","adjacency":"zero-out","batches_per_epoch":10,"delta_e12":10000000,"unit":"example"}';

    IPrivacyLedger private privacy;

    function setUp() public override {
        super.setUp();
        privacy = IPrivacyLedger(deployed("PrivacyLedger", abi.encode(challenges)));
        vm.prank(SITE_ADMIN);
        registry.registerDataset(IFedRegistry.RegisterDataset(DATASET, SITE, 303, 2), "");
        consent(UNIT, POLICY);
        vm.warp(START + 1);
    }

    function test_a_total_above_the_grant_freezes_the_dataset() public {
        overspend(included(evidenceOf(GRANT + 1)), UNIT);
        isTrue(privacy.isFrozen(DATASET), "frozen");
    }

    function test_a_total_within_the_grant_or_without_bound_is_not_punished(uint64 total) public {
        if (total < UNBOUNDED) total %= GRANT + 1;
        refused(included(evidenceOf(total)), UNIT, IPrivacyLedger.NothingWrong.selector);
        refused(included(evidenceOf(UNBOUNDED)), UNIT, IPrivacyLedger.NothingWrong.selector);
    }

    function test_sandbox_grants_and_other_texts_are_not_punished() public {
        string[5] memory texts = ["example/sandbox", "example", "/lifetime", "lifetime", ""];
        IPrivacyLedger.Evidence memory evidence;
        for (uint256 i = 0; i < texts.length; ++i) {
            consent(texts[i], POLICY);
            vm.warp(block.timestamp + 1);
            evidence = included(evidenceOf(GRANT + 1));
            refused(evidence, texts[i], IPrivacyLedger.NotLifetime.selector);
            refused(evidence, UNIT, IPrivacyLedger.NotLifetime.selector);
        }
    }

    function test_only_the_sites_newer_consent_lifts_a_freeze() public {
        IPrivacyLedger.Evidence memory evidence = included(evidenceOf(GRANT + 1));
        overspend(evidence, UNIT);
        refused(evidence, UNIT, IPrivacyLedger.AlreadyFrozen.selector);
        vm.prank(SITE_ADMIN);
        registry.withdrawConsent(IFedRegistry.ConsentWithdraw(DATASET, 0, 1, 4), "");
        isTrue(privacy.isFrozen(DATASET), "a withdrawal lifts nothing");
        consent(UNIT, POLICY);
        isTrue(privacy.isFrozen(DATASET), "a consent of the same second is not newer");
        vm.warp(DEADLINE);
        consent(UNIT, POLICY);
        isTrue(!privacy.isFrozen(DATASET), "lifted");
        refused(evidence, UNIT, IPrivacyLedger.OtherConsent.selector);
    }

    function test_a_lower_total_later_in_the_run_freezes_the_dataset() public {
        IPrivacyLedger.Evidence memory earlier = included(evidenceOf(5_000_000));
        sealSome(1);
        IPrivacyLedger.Evidence memory later = included(evidenceOf(4_999_999));
        privacy.challengeDecrease(earlier, later, UNIT, from(1), 2);
        isTrue(privacy.isFrozen(DATASET), "frozen");
    }

    function test_what_is_no_decrease(uint64 before, uint64 total) public {
        before = 1 + before % (UNBOUNDED - 1);
        if (total < before) total = before;
        IPrivacyLedger.Evidence memory earlier = included(evidenceOf(before));
        IPrivacyLedger.Evidence memory later = included(evidenceOf(total));
        vm.expectPartialRevert(IPrivacyLedger.NothingWrong.selector);
        privacy.challengeDecrease(earlier, later, UNIT, from(1), 1);
        vm.expectPartialRevert(IPrivacyLedger.OtherLink.selector);
        privacy.challengeDecrease(later, earlier, UNIT, from(1), 1);
        vm.expectPartialRevert(IPrivacyLedger.OtherLink.selector);
        privacy.challengeDecrease(later, earlier, UNIT, from(2), 0);
    }

    function test_an_unbounded_total_before_a_bounded_one_is_no_decrease() public {
        IPrivacyLedger.Evidence memory earlier = included(evidenceOf(UNBOUNDED));
        IPrivacyLedger.Evidence memory later = included(evidenceOf(1));
        vm.expectPartialRevert(IPrivacyLedger.NothingWrong.selector);
        privacy.challengeDecrease(earlier, later, UNIT, from(1), 1);
    }

    function test_nobody_else_can_have_a_dataset_frozen() public {
        IPrivacyLedger.Evidence memory evidence = evidenceOf(GRANT + 1);
        evidence.signer = otherDevice;
        refused(included(sign(evidence, OTHER_KEY)), UNIT, IPrivacyLedger.ForeignDevice.selector);
        evidence = evidenceOf(GRANT + 1);
        refused(included(sign(evidence, OTHER_KEY)), UNIT, Statements.WrongSignature.selector);
        evidence = evidenceOf(GRANT + 1);
        evidence.update.dataset = keccak256("unknown");
        refused(included(sign(evidence, DEVICE_KEY)), UNIT, IPrivacyLedger.NotLifetime.selector);
    }

    function test_a_revoked_device_speaks_for_deadlines_before_its_revocation_only() public {
        IPrivacyLedger.Evidence memory before = included(evidenceOf(GRANT + 1));
        vm.warp(DEADLINE);
        revokeDevice(SITE, device);
        refused(before, UNIT, IPrivacyLedger.ForeignDevice.selector);
        before = evidenceOf(GRANT + 1);
        before.update.deadline = DEADLINE - 1;
        overspend(included(sign(before, DEVICE_KEY)), UNIT);
    }

    function test_an_update_that_is_in_no_tree_proves_nothing() public {
        IPrivacyLedger.Evidence memory evidence = evidenceOf(GRANT + 1);
        sealSome(1);
        refused(evidence, UNIT, IPrivacyLedger.WrongProof.selector);
        evidence = included(evidenceOf(GRANT + 1));
        evidence.update.microEpsilonTotal += 1;
        refused(evidence, UNIT, IPrivacyLedger.WrongProof.selector);
        evidence.update.run = keccak256("other run");
        refused(evidence, UNIT, IPrivacyLedger.OtherLink.selector);
    }

    function test_an_update_at_another_delta_or_unit_is_not_measured_by_the_grant() public {
        bytes memory otherDelta = '{"delta_e12":100000000,"unit":"example"}';
        bytes memory otherUnit = '{"delta_e12":10000000,"unit":"examples"}';
        refused(included(withPrivacy(otherDelta, 1, 23)), UNIT, IPrivacyLedger.OtherPrivacy.selector);
        refused(included(withPrivacy(otherUnit, 1, 22)), UNIT, IPrivacyLedger.OtherPrivacy.selector);
        IPrivacyLedger.Evidence memory evidence = included(evidenceOf(GRANT + 1));
        evidence.dpParams = '{"delta_e12":10000000,"unit":"example"}';
        refused(evidence, UNIT, IPrivacyLedger.OtherPrivacy.selector);
        evidence = included(evidenceOf(GRANT + 1));
        evidence.unitAt = type(uint256).max;
        refused(evidence, UNIT, IPrivacyLedger.OtherPrivacy.selector);
    }

    function test_an_update_under_an_earlier_policy_is_not_measured_by_the_present_grant() public {
        IPrivacyLedger.Evidence memory evidence = included(evidenceOf(GRANT + 1));
        consent(UNIT, keccak256("smaller grant"));
        refused(evidence, UNIT, IPrivacyLedger.OtherConsent.selector);
    }

    function consent(string memory unit, bytes32 policy) private {
        IFedRegistry.ConsentGrant memory grant;
        (grant.dataset, grant.federation, grant.policy) = (DATASET, FEDERATION, policy);
        (grant.from, grant.until, grant.nominalSize) = (START, END, 303);
        (grant.microEpsilonGrant, grant.deltaE12) = (GRANT, DELTA);
        grant.unit = sha256(abi.encodePacked("fedchain/privacy-unit/1", bytes1(0), unit));
        grant.nonce = registry.organisationOf(SITE).nonce + 1;
        vm.prank(SITE_ADMIN);
        registry.grantConsent(grant, "");
    }

    function evidenceOf(uint64 total) private view returns (IPrivacyLedger.Evidence memory) {
        return withTotal(total, DP_PARAMS, 66, 87);
    }

    function withPrivacy(bytes memory document, uint256 deltaAt, uint256 unitAt)
        private
        view
        returns (IPrivacyLedger.Evidence memory)
    {
        return withTotal(GRANT + 1, document, deltaAt, unitAt);
    }

    function withTotal(uint64 total, bytes memory document, uint256 deltaAt, uint256 unitAt)
        private
        view
        returns (IPrivacyLedger.Evidence memory evidence)
    {
        IPrivacyLedger.ClientUpdate memory update = evidence.update;
        (update.federation, update.run, update.round) = (FEDERATION, RUN, last + 1);
        (update.dataset, update.policy, update.weight, update.deadline) = (DATASET, POLICY, 303, DEADLINE);
        update.microEpsilonTotal = total;
        update.dpParams = sha256(abi.encodePacked("fedchain/dp-params/1", bytes1(0), document));
        (evidence.dpParams, evidence.deltaAt, evidence.unitAt) = (document, deltaAt, unitAt);
        (evidence.signer, evidence.payloadCodec) = (device, 0x55);
        return sign(evidence, DEVICE_KEY);
    }

    function sign(IPrivacyLedger.Evidence memory evidence, uint256 key)
        private
        view
        returns (IPrivacyLedger.Evidence memory)
    {
        evidence.signature = signed(key, digestOf(evidence));
        return evidence;
    }

    function digestOf(IPrivacyLedger.Evidence memory evidence) private view returns (bytes32) {
        return typed(address(rounds), keccak256(bytes.concat(CLIENT_UPDATE, abi.encode(evidence.update))));
    }

    /// @dev Seals a round that accepts the update.
    function included(IPrivacyLedger.Evidence memory evidence) private returns (IPrivacyLedger.Evidence memory) {
        same(evidence.update.round, last + 1, "the update is for the next round");
        bytes32 leaf = doubly(
            abi.encode(uint8(1), evidence.signer, digestOf(evidence), keccak256(evidence.signature), uint64(0x55))
        );
        bytes32 root;
        (root, evidence.proof) = treeWith(leaf);
        sealRoots(root, 0, 1);
        return evidence;
    }

    function overspend(IPrivacyLedger.Evidence memory evidence, string memory unit) private {
        privacy.challengeOverspend(evidence, unit, from(evidence.update.round));
    }

    function refused(IPrivacyLedger.Evidence memory evidence, string memory unit, bytes4 refusal) private {
        vm.expectPartialRevert(refusal);
        privacy.challengeOverspend(evidence, unit, from(evidence.update.round));
    }
}
