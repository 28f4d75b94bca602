// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../src/interfaces/IRewardVault.sol";
import {Cheats} from "./Cheats.sol";
import {CallingToken, OddToken, Payee, PickyToken, TaxedToken, Token} from "./Tokens.sol";
import {Trees} from "./Trees.sol";

/// @dev A vault with a tree of awards; who is who, and how a root becomes final.
abstract contract VaultWorld is Cheats {
    bytes32 internal constant FEDERATION = keccak256("federation");
    bytes32 internal constant REPORT = keccak256("report");
    address internal constant DISTRIBUTOR = address(0xD157);
    address internal constant GUARDIAN = address(0x06AD);
    address internal constant ANYONE = address(0xA171);
    uint64 internal constant WINDOW = 3 days;
    uint8 internal constant CREDITS = 0;
    uint8 internal constant NATIVE = 1;
    uint8 internal constant TOKEN = 2;

    struct Award {
        address account;
        uint256 cumulative;
    }

    function vaultOf(address asset, uint8 kind) internal returns (IRewardVault) {
        return IRewardVault(
            deployed("RewardVault", abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, asset, kind, WINDOW))
        );
    }

    function fundedToken(Token token, uint256 amount) internal returns (IRewardVault vault) {
        vault = vaultOf(address(token), TOKEN);
        pay(vault, token, amount);
    }

    function pay(IRewardVault vault, Token token, uint256 amount) internal {
        token.mint(address(this), amount);
        token.approve(address(vault), amount);
        vault.fund(amount);
    }

    function fundedNative(uint256 amount) internal returns (IRewardVault vault) {
        vault = vaultOf(address(0), NATIVE);
        vm.deal(address(this), amount);
        vault.fund{value: amount}(amount);
    }

    function leafOf(IRewardVault vault, Award memory award) internal view returns (bytes32) {
        return keccak256(
            bytes.concat(keccak256(abi.encode(block.chainid, address(vault), award.account, award.cumulative)))
        );
    }

    function treeOf(IRewardVault vault, Award[] memory awards) internal view returns (bytes32[] memory) {
        bytes32[] memory leaves = new bytes32[](awards.length);
        for (uint256 i = 0; i < awards.length; ++i) {
            leaves[i] = leafOf(vault, awards[i]);
        }
        return Trees.nodes(leaves);
    }

    function publish(IRewardVault vault, Award[] memory awards) internal returns (bytes32[] memory tree) {
        tree = treeOf(vault, awards);
        publishRoot(vault, tree[0], sum(awards));
    }

    function publishRoot(IRewardVault vault, bytes32 root, uint256 total) internal {
        vm.prank(DISTRIBUTOR);
        vault.propose(root, total, REPORT);
        vm.warp(block.timestamp + WINDOW);
        vault.finalize();
    }

    function claim(IRewardVault vault, bytes32[] memory tree, Award memory award) internal {
        vm.prank(ANYONE);
        vault.claim(award.account, award.cumulative, Trees.proof(tree, leafOf(vault, award)));
    }

    function awardsOf(uint256 count, uint256 each) internal pure returns (Award[] memory awards) {
        awards = new Award[](count);
        for (uint256 i = 0; i < count; ++i) {
            awards[i] = Award(address(uint160(0x10000 + i)), each * (i + 1));
        }
    }

    function sum(Award[] memory awards) internal pure returns (uint256 total) {
        for (uint256 i = 0; i < awards.length; ++i) {
            total += awards[i].cumulative;
        }
    }
}

contract RewardVaultTest is VaultWorld {
    function setUp() public {
        vm.warp(1_800_000_000);
    }

    function test_each_account_is_paid_the_difference_to_what_it_claimed() public {
        Token token = new Token();
        IRewardVault vault = fundedToken(token, 1000);
        Award[] memory awards = awardsOf(4, 10);
        claim(vault, publish(vault, awards), awards[2]);
        same(token.balanceOf(awards[2].account), 30, "first");
        awards[2].cumulative = 45;
        bytes32[] memory tree = publish(vault, awards);
        claim(vault, tree, awards[2]);
        claim(vault, tree, awards[3]);
        same(token.balanceOf(awards[2].account), 45, "second");
        same(token.balanceOf(awards[3].account), 40, "all at once");
        same(vault.claimed(awards[2].account), 45, "claimed");
    }

    function test_a_second_claim_pays_nothing() public {
        IRewardVault vault = fundedNative(1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        claim(vault, tree, awards[1]);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[1]));
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NothingToClaim.selector, 20, 20));
        vault.claim(awards[1].account, 20, proof);
        same(awards[1].account.balance, 20, "paid once");
    }

    function test_a_claim_with_anothers_proof_or_a_greater_amount() public {
        IRewardVault vault = fundedNative(1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[1]));
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(awards[0].account, 20, proof);
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(ANYONE, 20, proof);
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(awards[1].account, 21, proof);
    }

    function test_escrow_drained_with_random_hashes(bytes32[] memory proof, address account, uint256 amount) public {
        IRewardVault vault = fundedNative(1000);
        vm.expectRevert(IRewardVault.WrongProof.selector); // no root at all
        vault.claim(account, amount, proof);
        publish(vault, awardsOf(3, 10));
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(account, amount, proof);
        same(address(vault).balance, 1000, "untouched");
    }

    function test_tokens_for_a_copied_cid_the_copycat_has_no_leaf_and_the_author_is_paid_once() public {
        IRewardVault vault = fundedNative(1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[2]));
        vm.prank(ANYONE); // whoever sends it, and whatever it copied: the leaf names its account
        vault.claim(awards[2].account, 30, proof);
        vm.prank(ANYONE);
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(ANYONE, 30, proof);
        same(awards[2].account.balance, 30, "the author");
        same(ANYONE.balance, 0, "the copycat");
    }

    function test_duplicate_leaf_pays_once() public {
        IRewardVault vault = fundedNative(1000);
        Award[] memory awards = awardsOf(4, 10);
        awards[1] = awards[0];
        bytes32[] memory tree = publish(vault, awards);
        claim(vault, tree, awards[0]);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[1]));
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NothingToClaim.selector, 10, 10));
        vault.claim(awards[1].account, 10, proof);
        same(awards[0].account.balance, 10, "paid once");
    }

    function test_second_preimage_an_inner_node_is_no_leaf() public {
        IRewardVault vault = fundedNative(1000);
        bytes32[] memory tree = publish(vault, awardsOf(4, 10));
        // The children of an inner node, read as the two last words of a leaf's preimage.
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = tree[2];
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(address(uint160(uint256(tree[3]))), uint256(tree[4]), proof);
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(address(uint160(uint256(tree[1]))), uint256(tree[2]), new bytes32[](0));
    }

    function test_replay_on_another_chain_or_in_another_vault() public {
        IRewardVault vault = fundedNative(1000);
        IRewardVault other = fundedNative(1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        publishRoot(other, tree[0], 60);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[0]));
        vm.expectRevert(IRewardVault.WrongProof.selector);
        other.claim(awards[0].account, 10, proof);
        vm.chainId(block.chainid + 1);
        vm.expectRevert(IRewardVault.WrongProof.selector);
        vault.claim(awards[0].account, 10, proof);
    }

    function test_a_root_pays_only_after_its_window_and_can_be_disputed_within() public {
        IRewardVault vault = fundedNative(1000);
        uint64 opened = uint64(block.timestamp);
        vm.prank(DISTRIBUTOR);
        vault.propose(REPORT, 10, REPORT);
        vm.warp(opened + WINDOW - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.WindowOpen.selector, opened + WINDOW));
        vault.finalize();
        vm.prank(GUARDIAN);
        vault.dispute(REPORT);
        vm.warp(opened + WINDOW);
        vm.expectPartialRevert(IRewardVault.NotPending.selector);
        vault.finalize();
        vm.prank(DISTRIBUTOR);
        vault.propose(REPORT, 10, REPORT);
        vm.warp(block.timestamp + WINDOW);
        vm.prank(GUARDIAN);
        vm.expectPartialRevert(IRewardVault.WindowOver.selector);
        vault.dispute(REPORT);
        vault.finalize();
        same(vault.root(), REPORT, "final");
    }

    function test_a_window_cannot_be_shortened_by_a_second_root() public {
        IRewardVault vault = fundedNative(1000);
        vm.startPrank(DISTRIBUTOR);
        vault.propose(REPORT, 10, REPORT);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.AlreadyPending.selector, REPORT));
        vault.propose(FEDERATION, 10, REPORT);
        vm.stopPrank();
    }

    function test_phases_opened_by_outsiders(address sender) public {
        vm.assume(sender != DISTRIBUTOR && sender != GUARDIAN);
        IRewardVault vault = fundedNative(1000);
        vm.prank(DISTRIBUTOR);
        vault.propose(REPORT, 10, REPORT);
        vm.startPrank(sender);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotDistributor.selector, sender));
        vault.propose(REPORT, 10, REPORT);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotGuardian.selector, sender));
        vault.dispute(REPORT);
        vm.stopPrank();
    }

    function test_awards_are_funded_before_they_are_promised_and_never_taken_back(uint128 funds, uint256 total) public {
        IRewardVault vault = fundedNative(1 + uint256(funds) / 2);
        vm.startPrank(DISTRIBUTOR);
        if (total > vault.funded()) {
            vm.expectRevert(abi.encodeWithSelector(IRewardVault.NotFunded.selector, vault.funded(), total));
            vault.propose(REPORT, total, REPORT);
            return;
        }
        vault.propose(REPORT, total, REPORT);
        vm.warp(block.timestamp + WINDOW);
        vault.finalize();
        if (total == 0) return;
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.TotalDecreases.selector, total, total - 1));
        vault.propose(REPORT, total - 1, REPORT);
    }

    function test_a_tree_of_more_than_its_total_takes_nothing_unallocated(bool isNative) public {
        IRewardVault vault = isNative ? fundedNative(1000) : vaultOf(address(0), CREDITS);
        Award[] memory awards = awardsOf(3, 10); // 10, 20 and 30
        bytes32[] memory tree = treeOf(vault, awards);
        publishRoot(vault, tree[0], 45);
        claim(vault, tree, awards[2]);
        claim(vault, tree, awards[0]);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[1]));
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.MoreThanTotal.selector, 5, 20));
        vault.claim(awards[1].account, 20, proof);
    }

    function test_credits_are_counted_and_never_move() public {
        IRewardVault vault = vaultOf(address(0), CREDITS);
        Award[] memory awards = awardsOf(3, 10);
        claim(vault, publish(vault, awards), awards[2]);
        same(vault.claimed(awards[2].account), 30, "credits");
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.WrongAsset.selector, CREDITS, address(0)));
        vault.fund(1);
    }

    function test_funding_is_what_was_sent() public {
        IRewardVault vault = fundedNative(1000);
        vm.deal(address(this), 10);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.WrongFunding.selector, 9, 10));
        vault.fund{value: 10}(9);
        Token token = new Token();
        IRewardVault ofToken = fundedToken(token, 5);
        vm.expectRevert(abi.encodeWithSelector(IRewardVault.WrongFunding.selector, 0, 10));
        ofToken.fund{value: 10}(9);
    }

    function test_hostile_token_that_keeps_a_fee_is_counted_by_what_arrives() public {
        IRewardVault vault = fundedToken(new TaxedToken(), 1000);
        same(vault.funded(), 900, "funded");
    }

    function test_hostile_token_that_re_enters_funding_is_counted_once() public {
        CallingToken token = new CallingToken();
        IRewardVault vault = fundedToken(token, 100);
        token.mint(address(token), 50);
        token.mint(address(this), 10);
        token.approve(address(vault), 10);
        token.arm(address(vault), abi.encodeCall(IRewardVault.fund, (50)));
        vault.fund(10);
        isTrue(!token.succeeded(), "the inner call was refused");
        same(vault.funded(), 110, "funded");
    }

    function test_re_entrancy_by_a_token_in_a_claim_pays_once() public {
        CallingToken token = new CallingToken();
        IRewardVault vault = fundedToken(token, 1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[2]));
        token.arm(address(vault), abi.encodeCall(IRewardVault.claim, (awards[2].account, 30, proof)));
        claim(vault, tree, awards[2]);
        isTrue(!token.succeeded(), "the inner claim was refused");
        same(token.balanceOf(awards[2].account), 30, "paid once");
    }

    function test_re_entrancy_by_a_payee_pays_once() public {
        Payee payee = new Payee(Payee.Mood.Greedy);
        (IRewardVault vault, bytes32[] memory tree, Award[] memory awards) = nativeWith(payee);
        payee.arm(vault, awards[0].cumulative, Trees.proof(tree, leafOf(vault, awards[0])));
        claim(vault, tree, awards[0]);
        same(payee.tries(), 1, "it tried");
        same(address(payee).balance, awards[0].cumulative, "paid once");
    }

    function test_hostile_payees_harm_only_themselves() public {
        for (uint256 mood = 1; mood < 4; ++mood) {
            Payee payee = new Payee(Payee.Mood(mood));
            (IRewardVault vault, bytes32[] memory tree, Award[] memory awards) = nativeWith(payee);
            bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[0]));
            vm.expectRevert();
            vault.claim{gas: 5_000_000}(address(payee), awards[0].cumulative, proof);
            claim(vault, tree, awards[1]);
            same(awards[1].account.balance, awards[1].cumulative, "the others are paid");
            vm.deal(awards[1].account, 0);
        }
    }

    function test_hostile_token_that_refuses_one_payee_pays_the_others() public {
        Award[] memory awards = awardsOf(3, 10);
        PickyToken token = new PickyToken(awards[0].account);
        IRewardVault vault = fundedToken(token, 1000);
        bytes32[] memory tree = publish(vault, awards);
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[0]));
        vm.expectRevert();
        vault.claim(awards[0].account, 10, proof);
        same(vault.claimed(awards[0].account), 0, "its award stands");
        claim(vault, tree, awards[1]);
        same(token.balanceOf(awards[1].account), 20, "the others are paid");
    }

    function test_tokens_that_return_nothing_or_a_bomb_are_paid() public {
        uint256[2] memory sizes = [uint256(0), 1_000_000];
        for (uint256 i = 0; i < sizes.length; ++i) {
            OddToken token = new OddToken(sizes[i]);
            IRewardVault vault = vaultOf(address(token), TOKEN);
            token.mint(address(this), 100);
            vault.fund(100);
            Award[] memory awards = awardsOf(2, 10);
            claim(vault, publish(vault, awards), awards[1]);
            same(token.balanceOf(awards[1].account), 20, "paid");
        }
    }

    function test_claims_need_nobody_but_a_proof(address sender) public {
        IRewardVault vault = fundedNative(1000);
        Award[] memory awards = awardsOf(3, 10);
        bytes32[] memory tree = publish(vault, awards);
        vm.prank(DISTRIBUTOR);
        vault.propose(REPORT, 500, REPORT); // a pending root stops no claim either
        bytes32[] memory proof = Trees.proof(tree, leafOf(vault, awards[1]));
        vm.prank(sender);
        vault.claim(awards[1].account, 20, proof);
        same(awards[1].account.balance, 20, "paid to the account, whoever sent it");
    }

    function test_a_vault_is_made_of_values_that_fit() public {
        expectRefusal(abi.encode(address(0), GUARDIAN, FEDERATION, address(0), 1, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, address(0), FEDERATION, address(0), 1, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, bytes32(0), address(0), 1, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(0), 1, 0));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(0), 2, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(0xBEEF), 2, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(this), 1, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(this), 0, WINDOW));
        expectRefusal(abi.encode(DISTRIBUTOR, GUARDIAN, FEDERATION, address(0), 3, WINDOW));
    }

    function expectRefusal(bytes memory arguments) private {
        vm.expectRevert();
        this.deploy(arguments);
    }

    function deploy(bytes calldata arguments) external {
        deployed("RewardVault", arguments);
    }

    function nativeWith(Payee payee) private returns (IRewardVault vault, bytes32[] memory tree, Award[] memory awards) {
        vault = fundedNative(1000);
        awards = awardsOf(3, 10);
        awards[0].account = address(payee);
        tree = publish(vault, awards);
    }
}
