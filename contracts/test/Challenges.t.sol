// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChallenges} from "../src/interfaces/IChallenges.sol";
import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {Statements} from "../src/Statements.sol";
import {Record} from "./Record.sol";
import {Wallet} from "./Wallets.sol";

contract CoSigningTest is Record {
    uint256 private constant ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;

    uint256 private constant P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551;

    event CoSigned(
        bytes32 indexed run, uint64 indexed round, address indexed signer, bytes32 roundHash, bytes signature
    );

    function test_a_receipt_of_the_head_is_recorded_by_anyone() public {
        sealSome(2);
        cosigned(receiptOf(2, head), none());
    }

    function test_a_device_of_hardware_co_signs_with_its_p256_key(uint256 secret) public {
        sealSome(1);
        (uint256 key, IFedRegistry.Organisation memory site) = (1 + secret % 2 ** 255, registry.organisationOf(SITE));
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        address hardware = address(uint160(uint256(keccak256(abi.encode(x, y)))));
        bytes memory possession =
            signedP256(key, typed(address(registry), keccak256(abi.encode(KEY_POSSESSION, SITE, hardware))));
        vm.prank(site.admin);
        registry.registerDevice(
            IFedRegistry.RegisterDevice(SITE, hardware, START, END, 2, possession, site.nonce + 1), ""
        );
        IChallenges.RoundReceipt memory receipt = receiptOf(1, head);
        bytes32 digest = typed(address(rounds), keccak256(abi.encode(ROUND_RECEIPT, receipt)));
        bytes memory signature = signedP256(key, digest);
        vm.expectEmit(true, true, true, true, address(challenges));
        emit CoSigned(RUN, 1, hardware, head, signature);
        challenges.cosign(receipt, hardware, signature, none());
        signature[40] ^= 0x01;
        vm.expectRevert(abi.encodeWithSelector(Statements.WrongSignature.selector, hardware));
        challenges.cosign(receipt, hardware, signature, none());
    }

    function signedP256(uint256 key, bytes32 digest) private pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = vm.signP256(key, digest);
        if (uint256(s) > P256_ORDER / 2) s = bytes32(P256_ORDER - uint256(s));
        (uint256 x, uint256 y) = vm.publicKeyP256(key);
        return abi.encode(r, s, x, y);
    }

    function test_a_receipt_of_a_closed_run_is_recorded() public {
        sealSome(1);
        cosigned(receiptOf(2, sealRoots(0, 0, 3)), none());
    }

    function test_a_receipt_of_an_earlier_link_needs_the_links_up_to_the_head_or_an_anchor() public {
        bytes32 hash = sealRoots(0, 0, 1);
        sealSome(3);
        refused(receiptOf(1, hash), none(), IChallenges.NotOnLedger.selector);
        cosigned(receiptOf(1, hash), from(1));
        challenges.anchor(from(1));
        cosigned(receiptOf(1, hash), none());
    }

    function test_a_long_history_is_anchored_in_several_transactions() public {
        sealSome(9);
        challenges.anchor(range(6, 9));
        challenges.anchor(range(3, 6));
        challenges.anchor(range(1, 3));
        same(challenges.anchorOf(RUN, 1), records[1].link.previousHash, "anchor");
        same(challenges.proven(range(1, 1)), records[1].link.previousHash, "proven by its anchor");
    }

    function test_records_that_were_never_sealed_prove_nothing(uint8 word, bytes32 noise) public {
        sealSome(3);
        IChallenges.LinkRecord[] memory forged = from(1);
        if (word % 4 == 0) forged[0].registryHead ^= noise;
        if (word % 4 == 1) forged[0].link.updatesRoot ^= noise;
        if (word % 4 == 2) forged[1].link.modelDigest ^= noise;
        if (word % 4 == 3) forged[2].link.manifestDigest ^= noise;
        vm.assume(noise != 0);
        vm.expectRevert();
        challenges.proven(forged);
        vm.expectPartialRevert(IChallenges.NotOnLedger.selector);
        challenges.proven(range(1, 2));
        vm.expectRevert(IChallenges.NoRecords.selector);
        challenges.proven(none());
    }

    function test_a_receipt_says_what_it_is_about() public {
        sealSome(2);
        bytes32 hash = records[1].link.previousHash;
        refused(IChallenges.RoundReceipt(keccak256("other"), RUN, 2, head), none(), IChallenges.ForeignFederation.selector);
        refused(IChallenges.RoundReceipt(FEDERATION, SITE, 2, head), none(), IChallenges.NotOnLedger.selector);
        refused(receiptOf(1, head), none(), IChallenges.NotOnLedger.selector);
        refused(receiptOf(2, hash), from(1), IChallenges.OtherLink.selector);
        refused(receiptOf(1, head), from(1), IChallenges.OtherLink.selector);
        refused(receiptOf(3, 0), none(), IChallenges.NotOnLedger.selector);
    }

    function test_only_devices_that_are_valid_now_co_sign() public {
        sealSome(1);
        IChallenges.RoundReceipt memory receipt = receiptOf(1, head);
        bytes memory signature = signReceipt(AGGREGATOR_KEY, receipt);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.UnknownSigner.selector, aggregator));
        challenges.cosign(receipt, aggregator, signature, none());
        revokeDevice(SITE, device);
        refused(receipt, none(), IChallenges.UnknownSigner.selector);
        vm.warp(END);
        vm.expectPartialRevert(IChallenges.UnknownSigner.selector);
        challenges.cosign(receipt, otherDevice, signature, none());
    }

    function test_replay_across_federation_run_chain_and_round() public {
        sealSome(1);
        IChallenges.RoundReceipt memory receipt = receiptOf(1, head);
        bytes memory signature = signReceipt(DEVICE_KEY, receipt);
        sealSome(1);
        vm.expectPartialRevert(Statements.WrongSignature.selector);
        challenges.cosign(receiptOf(2, head), device, signature, none());
        vm.expectPartialRevert(Statements.WrongSignature.selector);
        challenges.cosign(receipt, otherDevice, signature, from(1));
        vm.chainId(block.chainid + 1);
        vm.expectRevert();
        challenges.cosign(receipt, device, signature, from(1));
    }

    function test_signature_malleability() public {
        sealSome(1);
        IChallenges.RoundReceipt memory receipt = receiptOf(1, head);
        bytes32 digest = typed(address(rounds), keccak256(abi.encode(ROUND_RECEIPT, receipt)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(DEVICE_KEY, digest);
        bytes memory twin = abi.encodePacked(r, bytes32(ORDER - uint256(s)), v == 27 ? uint8(28) : uint8(27));
        bytes memory compact = abi.encodePacked(r, bytes32(uint256(s) | (uint256(v - 27) << 255)));
        bytes memory longer = abi.encodePacked(r, s, v, uint8(0));
        bytes[3] memory forms = [twin, compact, longer];
        for (uint256 i = 0; i < forms.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(Statements.WrongSignature.selector, device));
            challenges.cosign(receipt, device, forms[i], none());
        }
    }

    function test_griefing_by_long_signatures() public {
        sealSome(1);
        vm.expectRevert(abi.encodeWithSelector(Statements.SignatureTooLong.selector, 1024, 24_576));
        challenges.cosign(receiptOf(1, head), device, new bytes(24_576), none());
    }

    function test_wallets_that_burn_gas_or_answer_with_a_bomb_harm_their_relayer_only() public {
        for (uint256 turn = 1; turn <= 4; ++turn) {
            uint256 mood = turn % 4; // the wallet that says yes comes last: it is then the admin
            address wallet = address(new Wallet(Wallet.Mood(mood)));
            IFedRegistry.Organisation memory organisation = registry.organisationOf(SITE);
            vm.prank(organisation.admin);
            if (mood > 0) vm.expectRevert();
            registry.rotateAdmin{gas: 3_000_000}(
                IFedRegistry.RotateAdmin(SITE, wallet, "its own form", organisation.nonce + 1), ""
            );
        }
    }

    function cosigned(IChallenges.RoundReceipt memory receipt, IChallenges.LinkRecord[] memory proof) private {
        bytes memory signature = signReceipt(DEVICE_KEY, receipt);
        vm.expectEmit(true, true, true, true, address(challenges));
        emit CoSigned(RUN, receipt.round, device, receipt.roundHash, signature);
        vm.prank(STRANGER);
        challenges.cosign(receipt, device, signature, proof);
    }

    function refused(
        IChallenges.RoundReceipt memory receipt,
        IChallenges.LinkRecord[] memory proof,
        bytes4 refusal
    ) private {
        bytes memory signature = signReceipt(DEVICE_KEY, receipt);
        vm.expectPartialRevert(refusal);
        challenges.cosign(receipt, device, signature, proof);
    }
}

contract EquivocationTest is Record {
    function test_two_hashes_of_one_round_flag_their_signer() public {
        uint256[2] memory keys = [DEVICE_KEY, AGGREGATOR_KEY];
        for (uint256 i = 0; i < keys.length; ++i) {
            prove(keys[i], receiptOf(4, keccak256("a")), receiptOf(4, keccak256("b")));
            same(challenges.equivocatedAt(vm.addr(keys[i])), START, "flag");
        }
        vm.warp(START + 5);
        prove(DEVICE_KEY, receiptOf(4, keccak256("a")), receiptOf(4, keccak256("c")));
        same(challenges.equivocatedAt(device), START, "the flag stays as it was");
    }

    function test_what_is_no_equivocation(uint64 round, bytes32 run, bytes32 hash) public {
        IChallenges.RoundReceipt memory one = receiptOf(4, keccak256("a"));
        IChallenges.RoundReceipt memory other = IChallenges.RoundReceipt(FEDERATION, run, round, hash);
        bytes memory oneSignature = signReceipt(DEVICE_KEY, one);
        bytes memory otherSignature = signReceipt(DEVICE_KEY, other);
        vm.expectRevert(IChallenges.NoEquivocation.selector);
        challenges.proveEquivocation(device, one, oneSignature, other, otherSignature);
        vm.expectRevert(IChallenges.NoEquivocation.selector);
        challenges.proveEquivocation(device, one, oneSignature, one, oneSignature);
    }

    function test_nobody_is_flagged_by_anothers_signature() public {
        IChallenges.RoundReceipt memory one = receiptOf(4, keccak256("a"));
        IChallenges.RoundReceipt memory other = receiptOf(4, keccak256("b"));
        bytes memory mine = signReceipt(DEVICE_KEY, one);
        bytes memory foreign = signReceipt(OTHER_KEY, other);
        vm.expectRevert(abi.encodeWithSelector(Statements.WrongSignature.selector, device));
        challenges.proveEquivocation(device, one, mine, other, foreign);
        vm.expectRevert(abi.encodeWithSelector(IChallenges.UnknownSigner.selector, STRANGER));
        challenges.proveEquivocation(STRANGER, one, mine, other, foreign);
        same(challenges.equivocatedAt(device), 0, "no flag");
    }

    function prove(
        uint256 key,
        IChallenges.RoundReceipt memory one,
        IChallenges.RoundReceipt memory other
    ) private {
        bytes memory oneSignature = signReceipt(key, one);
        bytes memory otherSignature = signReceipt(key, other);
        challenges.proveEquivocation(vm.addr(key), one, oneSignature, other, otherSignature);
    }
}

contract OmissionTest is Record {
    uint64 private constant SEAL_BY = START + 100;
    bytes private constant SIGNATURE = hex"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f1b";

    function test_an_included_leaf_answers() public {
        (IChallenges.InclusionPromise memory promised, bytes32[] memory proof, bytes32 root) = promiseOf(leaf());
        sealRoots(root, 0, 1);
        sealSome(2);
        open(promised);
        vm.prank(STRANGER);
        challenges.answerIncluded(promised, from(1), proof);
        requireState(promised, IChallenges.PromiseState.Kept);
        vm.warp(START + 100 days);
        vm.expectPartialRevert(IChallenges.WrongState.selector);
        challenges.concludeOmission(promised);
    }

    function test_a_round_that_is_sealed_late_but_within_the_window_answers() public {
        (IChallenges.InclusionPromise memory promised, bytes32[] memory proof, bytes32 root) = promiseOf(leaf());
        open(promised);
        sealRoots(root, 0, 1);
        challenges.answerIncluded(promised, from(1), proof);
    }

    function test_an_unanswered_challenge_proves_the_omission() public {
        (IChallenges.InclusionPromise memory promised, bytes32[] memory proof,) = promiseOf(leaf());
        sealRoots(dense("other updates"), 0, 1);
        open(promised);
        vm.expectRevert(IChallenges.WrongProof.selector);
        challenges.answerIncluded(promised, from(1), proof);
        vm.expectPartialRevert(IChallenges.WindowOpen.selector);
        challenges.concludeOmission(promised);
        vm.warp(SEAL_BY + 1 + WINDOW);
        vm.expectPartialRevert(IChallenges.WindowOver.selector);
        challenges.answerIncluded(promised, from(1), proof);
        challenges.concludeOmission(promised);
        requireState(promised, IChallenges.PromiseState.Broken);
    }

    function test_spam_is_impossible_without_a_promise_of_the_aggregator(uint256 key) public {
        key = 1 + key % (2 ** 250);
        vm.assume(key != AGGREGATOR_KEY);
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        vm.warp(SEAL_BY + 1);
        bytes memory signature = signed(key, promiseId(promised));
        vm.expectPartialRevert(Statements.WrongSignature.selector);
        challenges.challengeOmission(promised, aggregator, signature);
        vm.expectPartialRevert(IChallenges.UnknownSigner.selector);
        challenges.challengeOmission(promised, vm.addr(key), signature);
    }

    function test_a_promise_is_challenged_once_and_not_before_its_time() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        bytes memory signature = signed(AGGREGATOR_KEY, promiseId(promised));
        vm.warp(SEAL_BY);
        vm.expectPartialRevert(IChallenges.NotDue.selector);
        challenges.challengeOmission(promised, aggregator, signature);
        open(promised);
        vm.expectPartialRevert(IChallenges.WrongState.selector);
        challenges.challengeOmission(promised, aggregator, signature);
    }

    function test_a_former_aggregators_promise_still_binds() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        vm.prank(ADMIN);
        rounds.setAggregator(STRANGER);
        open(promised);
    }

    function test_time_of_a_pause_is_not_counted_against_the_aggregator() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        vm.warp(SEAL_BY);
        vm.prank(GUARDIAN);
        rounds.pause(SEAL_BY + 7 days);
        open(promised);
        (, uint64 answerBy) = challenges.promiseOf(promiseId(promised));
        same(answerBy, SEAL_BY + 7 days + WINDOW, "answer by");
    }

    function test_a_leaf_in_another_round_or_run_is_no_answer() public {
        (IChallenges.InclusionPromise memory promised, bytes32[] memory proof, bytes32 root) = promiseOf(leaf());
        sealRoots(0, 0, 1);
        sealRoots(root, 0, 1);
        open(promised);
        vm.expectPartialRevert(IChallenges.OtherLink.selector);
        challenges.answerIncluded(promised, from(2), proof);
    }

    function test_second_preimage_an_inner_node_of_the_tree_is_no_promised_leaf() public {
        (IChallenges.InclusionPromise memory promised,, bytes32 root) = promiseOf(leaf());
        sealRoots(root, 0, 1);
        open(promised);
        vm.expectRevert(IChallenges.WrongProof.selector);
        challenges.answerIncluded(promised, from(1), new bytes32[](0));
    }

    function test_a_rejection_with_the_very_reply_answers() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        (IChallenges.Rejection memory rejection, bytes32[] memory proof) = rejected(18, 1, reply(SIGNATURE));
        sealRoots(0, 0, 1);
        sealRoots(0, rootOf(rejection), 1);
        open(promised);
        challenges.answerRejected(promised, rejection, from(2), proof);
        requireState(promised, IChallenges.PromiseState.Rejected);
    }

    function test_a_rejection_of_another_reply_is_no_answer() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        (IChallenges.Rejection memory rejection, bytes32[] memory proof) =
            rejected(18, 1, reply(abi.encodePacked(keccak256("a"), keccak256("b"), uint8(27))));
        sealRoots(0, rootOf(rejection), 1);
        open(promised);
        notAnAnswer(promised, rejection, proof);
        rejection.signatureAt = type(uint256).max;
        notAnAnswer(promised, rejection, proof);
        rejection.signatureAt = 0;
        notAnAnswer(promised, rejection, proof);
        rejection.reply = reply(SIGNATURE);
        rejection.signatureAt = 9;
        notAnAnswer(promised, rejection, proof);
        rejection.update.signer = otherDevice;
        notAnAnswer(promised, rejection, proof);
    }

    function test_a_rejection_as_a_duplicate_of_itself_is_no_answer() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        (IChallenges.Rejection memory rejection, bytes32[] memory proof) = rejected(26, 1, reply(SIGNATURE));
        sealRoots(0, rootOf(rejection), 1);
        open(promised);
        notAnAnswer(promised, rejection, proof);
    }

    function test_a_signature_in_the_payload_of_another_reply_is_no_answer() public {
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        bytes memory inPayload = bytes.concat(bytes4(uint32(2)), "{}", '{"signature":"0x', hexOf(SIGNATURE), '"}');
        (IChallenges.Rejection memory rejection, bytes32[] memory proof) = rejected(18, 1, inPayload);
        rejection.signatureAt = 7;
        sealRoots(0, rootOf(rejection), 1);
        open(promised);
        notAnAnswer(promised, rejection, proof);
    }

    function test_without_the_reply_only_reasons_that_the_ledger_shows_excuse(uint16 reason, bool aborted) public {
        reason %= 40;
        (IChallenges.InclusionPromise memory promised,,) = promiseOf(leaf());
        (IChallenges.Rejection memory rejection, bytes32[] memory proof) = rejected(reason, 1, reply(SIGNATURE));
        rejection.reply = "";
        sealRoots(0, rootOf(rejection), aborted ? 2 : 1);
        open(promised);
        if (reason == 25 || reason == 29 || (reason == 33 && aborted)) {
            challenges.answerRejected(promised, rejection, from(1), proof);
            requireState(promised, IChallenges.PromiseState.Excused);
        } else {
            notAnAnswer(promised, rejection, proof);
        }
    }

    function test_vectors_shared_with_python_are_leaves_of_a_round() public {
        string memory json = vm.readFile("../tests/vectors/merkle.json");
        for (uint256 tree = 0; vm.keyExistsJson(json, path(tree, "")); ++tree) {
            bytes32 root = vm.parseJsonBytes32(json, path(tree, ".root"));
            sealRoots(root, 0, 1);
            for (uint256 i = 0; vm.keyExistsJson(json, path(tree, i, "")); ++i) {
                IChallenges.InclusionPromise memory promised;
                (promised.federation, promised.run, promised.round) = (FEDERATION, RUN, last);
                promised.leaf = vm.parseJsonBytes32(json, path(tree, i, ".leaf"));
                promised.sealBy = SEAL_BY;
                open(promised);
                bytes32[] memory proof = vm.parseJsonBytes32Array(json, path(tree, i, ".proof"));
                challenges.answerIncluded(promised, from(last), proof);
            }
        }
        isTrue(last == 9, "nine trees");
    }

    function path(uint256 tree, string memory rest) private pure returns (string memory) {
        return string.concat(".trees[", vm.toString(tree), "]", rest);
    }

    function path(uint256 tree, uint256 i, string memory rest) private pure returns (string memory) {
        return string.concat(path(tree, ".leaves["), vm.toString(i), "]", rest);
    }

    function update() private view returns (IChallenges.UpdateLeaf memory) {
        return IChallenges.UpdateLeaf(device, keccak256("message"), keccak256(SIGNATURE), 0x55);
    }

    function leaf() private view returns (bytes32) {
        return doubly(abi.encode(uint8(1), update()));
    }

    function promiseOf(bytes32 promisedLeaf)
        private
        pure
        returns (IChallenges.InclusionPromise memory promised, bytes32[] memory proof, bytes32 root)
    {
        promised = IChallenges.InclusionPromise(FEDERATION, RUN, 1, promisedLeaf, SEAL_BY);
        (root, proof) = treeWith(promisedLeaf);
    }

    function open(IChallenges.InclusionPromise memory promised) private {
        vm.warp(SEAL_BY + 1);
        bytes memory signature = signed(AGGREGATOR_KEY, promiseId(promised));
        challenges.challengeOmission(promised, aggregator, signature);
    }

    function requireState(IChallenges.InclusionPromise memory promised, IChallenges.PromiseState expected)
        private
        view
    {
        (IChallenges.PromiseState state,) = challenges.promiseOf(promiseId(promised));
        same(uint256(state), uint256(expected), "state");
    }

    function notAnAnswer(
        IChallenges.InclusionPromise memory promised,
        IChallenges.Rejection memory rejection,
        bytes32[] memory proof
    ) private {
        vm.expectRevert(IChallenges.OtherReply.selector);
        challenges.answerRejected(promised, rejection, from(1), proof);
    }

    function rejected(uint16 reason, uint64 round, bytes memory evidence)
        private
        view
        returns (IChallenges.Rejection memory rejection, bytes32[] memory proof)
    {
        rejection.update = update();
        rejection.rejected = IChallenges.RejectedLeaf(reason, round, device, 7, sha256(evidence));
        (rejection.reply, rejection.signatureAt) = (evidence, 4 + 7);
        (, proof) = treeWith(doubly(abi.encode(uint8(2), rejection.rejected)));
    }

    function rootOf(IChallenges.Rejection memory rejection) private pure returns (bytes32 root) {
        (root,) = treeWith(doubly(abi.encode(uint8(2), rejection.rejected)));
    }

    function reply(bytes memory signature) private pure returns (bytes memory) {
        bytes memory header = bytes.concat('{"a":1,"signature":"0x', hexOf(signature), '"}');
        return bytes.concat(bytes4(uint32(header.length)), header, "payload");
    }

    function hexOf(bytes memory data) private pure returns (bytes memory text) {
        bytes memory digits = "0123456789abcdef";
        text = new bytes(2 * data.length);
        for (uint256 i = 0; i < data.length; ++i) {
            text[2 * i] = digits[uint8(data[i]) >> 4];
            text[2 * i + 1] = digits[uint8(data[i]) & 15];
        }
    }
}
