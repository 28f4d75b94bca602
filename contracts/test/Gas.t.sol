// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {IRewardVault} from "../src/interfaces/IRewardVault.sol";
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
