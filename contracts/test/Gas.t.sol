// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {IChallenges} from "../src/interfaces/IChallenges.sol";
import {IModelRegistry} from "../src/interfaces/IModelRegistry.sol";
import {IRewardVault} from "../src/interfaces/IRewardVault.sol";
import {ReleaseWorld} from "./ModelRegistry.t.sol";
import {Record} from "./Record.sol";
import {VaultWorld} from "./RewardVault.t.sol";
import {Token} from "./Tokens.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev What transactions cost, all included. Each call is a transaction of its own; figures land in gas/.
/// forge-config: default.isolate = true
contract RoundLedgerGasTest is World {
    function test_seal() public {
        seal(nextLink());
        metered("first seal of a run");
        seal(nextLink());
        isTrue(metered("seal") <= 45_000, "a seal costs 45,000 gas at most");
    }

    function test_seals_of_many_links_at_once() public {
        seal(nextLink());
        IRoundLedger.Link[] memory links = new IRoundLedger.Link[](100);
        for (uint256 i = 0; i < links.length; ++i) {
            links[i] = nextLink();
            (links[i].round, links[i].previousHash) = (last + 1, head);
            (head, last) = (hashOf(links[i]), links[i].round);
        }
        vm.prank(aggregator);
        rounds.sealMany(links, 1);
        metered("seal of 100 links at once");
    }

    function test_taking_over() public {
        vm.prank(aggregator);
        rounds.takeOver();
        metered("take over");
    }

    function metered(string memory name) private returns (uint256) {
        return vm.snapshotGasLastCall("gas", name);
    }
}

/// forge-config: default.isolate = true
contract RewardVaultGasTest is VaultWorld {
    uint256 private constant ACCOUNTS = 1000;

    function test_claims_of_a_token_among_a_thousand_accounts() public {
        Token token = new Token();
        IRewardVault vault = fundedToken(token, 1e30);
        claimTwice(vault, "claim of a token");
    }

    function test_claims_of_coins_among_a_thousand_accounts() public {
        claimTwice(fundedNative(1e30), "claim of coins");
    }

    function test_claims_of_credits_among_a_thousand_accounts() public {
        claimTwice(vaultOf(address(0), CREDITS), "claim of credits");
    }

    function test_a_root_from_proposal_to_final() public {
        IRewardVault vault = fundedNative(1e30);
        publish(vault, awardsOf(3, 10)); // the first root takes fresh slots
        Award[] memory awards = awardsOf(3, 20);
        bytes32[] memory tree = treeOf(vault, awards);
        uint256 total = sum(awards);
        vm.prank(DISTRIBUTOR);
        vault.propose(tree[0], total, REPORT);
        vm.snapshotGasLastCall("gas", "proposal of a reward root");
        vm.warp(block.timestamp + WINDOW);
        vault.finalize();
        vm.snapshotGasLastCall("gas", "finalization of a reward root");
    }

    function claimTwice(IRewardVault vault, string memory name) private {
        Award[] memory awards = awardsOf(ACCOUNTS, 0.123456789123456789 ether);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            awards[i].account = address(uint160(uint256(keccak256(abi.encode(i)))));
        }
        // Somebody else claimed before, so that no slot of the vault is fresh.
        claim(vault, publish(vault, awards), awards[7]);
        claimed(vault, awards, string.concat("first ", name));
        awards[500].cumulative += 0.987654321987654321 ether;
        uint256 gas = claimed(vault, awards, string.concat("repeated ", name));
        isTrue(gas <= 56_000, "a repeated claim costs 56,000 gas at most");
    }

    function claimed(IRewardVault vault, Award[] memory awards, string memory name) private returns (uint256) {
        bytes32[] memory proof = Trees.proof(publish(vault, awards), leafOf(vault, awards[500]));
        vault.claim(awards[500].account, awards[500].cumulative, proof);
        return vm.snapshotGasLastCall("gas", name);
    }
}

/// forge-config: default.isolate = true
contract ChallengesGasTest is Record {
    function test_co_signing() public {
        sealSome(1);
        IChallenges.RoundReceipt memory receipt = receiptOf(1, head);
        bytes memory signature = signReceipt(DEVICE_KEY, receipt);
        challenges.cosign(receipt, device, signature, none());
        metered("co-signature of the head");
    }

    function test_an_omission_challenge_and_its_answer() public {
        uint256[3] memory lengths = [uint256(1), 10, 100];
        for (uint256 i = 0; i < lengths.length; ++i) {
            (bytes32 root, bytes32[] memory proof) = treeWith(keccak256(abi.encode(i)));
            sealRoots(root, 0, 1);
            IChallenges.InclusionPromise memory promised =
                IChallenges.InclusionPromise(FEDERATION, RUN, last, keccak256(abi.encode(i)), START);
            vm.warp(START + 1);
            bytes memory signature = signed(AGGREGATOR_KEY, promiseId(promised));
            challenges.challengeOmission(promised, aggregator, signature);
            metered("omission challenge");
            sealSome(lengths[i] - 1);
            challenges.answerIncluded(promised, from(promised.round), proof);
            metered(string.concat("answer over ", vm.toString(lengths[i]), " links"));
        }
    }

    function test_anchoring_a_hundred_links_back() public {
        sealSome(101);
        challenges.anchor(from(1));
        metered("anchor 100 links back");
    }

    function metered(string memory name) private {
        vm.snapshotGasLastCall("gas", name);
    }
}

/// forge-config: default.isolate = true
contract ModelRegistryGasTest is ReleaseWorld {
    function test_an_approval_by_three() public {
        (, bytes32 id) = inReview();
        IModelRegistry.Vote[] memory votes = ballots(id, APPROVE, 3);
        models.decide(id, APPROVE, votes);
        uint256 gas = vm.snapshotGasLastCall("gas", "approval by three");
        isTrue(gas <= 75_000, "an approval by three costs 75,000 gas at most");
    }
}
