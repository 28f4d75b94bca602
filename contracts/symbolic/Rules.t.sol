// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {FedRegistry} from "../src/FedRegistry.sol";
import {Links} from "../src/Links.sol";
import {RewardVault} from "../src/RewardVault.sol";
import {RoundLedger} from "../src/RoundLedger.sol";
import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";

interface Vm {
    function assume(bool holds) external;
    function prank(address sender) external;
    function warp(uint256 time) external;
}

/// @dev Rules that halmos proves for every input: functions that start with `check_` are theorems, their arguments are
/// symbolic. They are compiled from the sources, not read from the artifacts as forge's tests are.
abstract contract Symbolic {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));
    bytes32 internal constant FEDERATION = keccak256("federation");
    address internal constant ADMIN = address(0xA0);
    address internal constant AGGREGATOR = address(0xA1);
    address internal constant GUARDIAN = address(0xA2);
    address internal constant OPERATOR = address(0xA3);
}

contract RoundLedgerRules is Symbolic {
    FedRegistry internal registry;
    RoundLedger internal ledger;

    function setUp() public {
        registry = new FedRegistry(FEDERATION, OPERATOR);
        ledger = new RoundLedger(address(registry), FEDERATION, ADMIN, AGGREGATOR, GUARDIAN, address(0));
    }

    function first(IRoundLedger.Link memory link) internal returns (bytes32) {
        vm.prank(AGGREGATOR);
        return ledger.seal(link, 1);
    }

    /// Nobody but the aggregator, and only with the present fence, seals anything.
    function check_only_the_lead_seals(IRoundLedger.Link memory link, address sender, uint32 fence) public {
        vm.prank(sender);
        try ledger.seal(link, fence) {
            assert(sender == AGGREGATOR && fence == 1);
        } catch {}
    }

    /// A first link has round 1 and no previous hash, and no other run's head changes.
    function check_a_run_begins_at_round_one(IRoundLedger.Link memory link, bytes32 other) public {
        vm.assume(other != link.run);
        vm.prank(AGGREGATOR);
        try ledger.seal(link, 1) returns (bytes32 hash) {
            assert(link.round == 1 && link.previousHash == 0 && link.run != 0); // a round 0 is refused
            assert(link.kind >= Links.SEALED && link.kind <= Links.CLOSED);
            assert(ledger.headOf(link.run) == Links.slot(1, hash, link.kind == Links.CLOSED));
            assert(ledger.headOf(other) == 0);
        } catch {}
    }

    /// After a link only the next round on its very hash is sealed in that run, and nothing after the end; assuming that
    /// no two slots have one hash, which halmos does not assume of keccak256 itself.
    function check_a_link_follows_the_head(IRoundLedger.Link memory one, IRoundLedger.Link memory next) public {
        vm.assume(one.run == next.run && one.round == 1 && one.previousHash == 0 && one.run != 0);
        vm.assume(one.kind == Links.SEALED || one.kind == Links.CLOSED);
        vm.assume(one.kind == Links.SEALED || (one.accepted == 0 && one.modelDigest == one.baseModel));
        bytes32 hash = first(one);
        if (next.round == 0) return; // refused, see check_a_run_begins_at_round_one
        bool isNext = next.round == 2 && next.previousHash == hash;
        vm.assume(isNext || Links.slot(next.round - 1, next.previousHash, false) != Links.slot(1, hash, false));
        vm.prank(AGGREGATOR);
        try ledger.seal(next, 1) {
            assert(one.kind != Links.CLOSED);
            assert(isNext);
        } catch {}
    }

    /// What aborts or closes changes no model and accepts nothing.
    function check_only_a_sealed_link_changes_the_model(IRoundLedger.Link memory link) public {
        vm.prank(AGGREGATOR);
        try ledger.seal(link, 1) {
            assert(link.kind == Links.SEALED || (link.accepted == 0 && link.modelDigest == link.baseModel));
        } catch {}
    }

    /// A pause lasts seven days at most, is the guardian's, and leaves as much time without one after it.
    function check_a_pause_ends_by_itself(uint64 until, address sender, uint64 later) public {
        vm.warp(1_000_000);
        vm.prank(sender);
        try ledger.pause(until) {
            assert(sender == GUARDIAN && until > 1_000_000 && until - 1_000_000 <= 7 days);
        } catch {
            return;
        }
        vm.assume(later >= 1_000_000 && later < until + (until - 1_000_000));
        vm.warp(later);
        vm.prank(GUARDIAN);
        try ledger.pause(later + 1) {
            assert(false);
        } catch {}
    }
}

contract RewardVaultRules is Symbolic {
    RewardVault internal vault;

    function setUp() public {
        vault = new RewardVault(AGGREGATOR, GUARDIAN, FEDERATION, address(0), 0, 3600);
    }

    function made(bytes32 root, uint256 total) internal {
        vm.warp(1_000_000);
        vm.prank(AGGREGATOR);
        vault.propose(root, total, bytes32(0));
        vm.warp(1_000_000 + 3600);
        vault.finalize();
    }

    /// Only the distributor proposes, and only the guardian disputes.
    function check_roles(address sender, bytes32 root, uint256 total) public {
        vm.prank(sender);
        try vault.propose(root, total, bytes32(0)) {
            assert(sender == AGGREGATOR && root != 0 && total <= type(uint128).max);
        } catch {
            return;
        }
        vm.prank(sender);
        try vault.dispute(root) {
            assert(sender == GUARDIAN);
        } catch {}
    }

    /// No root pays before its window is over.
    function check_a_root_waits(bytes32 root, uint128 total, uint64 time) public {
        vm.assume(root != 0);
        vm.warp(1_000_000);
        vm.prank(AGGREGATOR);
        vault.propose(root, total, bytes32(0));
        vm.assume(time >= 1_000_000);
        vm.warp(time);
        try vault.finalize() {
            assert(time >= 1_000_000 + 3600);
        } catch {}
    }

    /// A leaf pays once: the same claim again is refused, whatever the proof says.
    function check_a_claim_pays_once(address account, uint256 amount, uint128 total, bytes32 sibling) public {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(block.chainid, address(vault), account, amount))));
        bytes32[] memory proof = new bytes32[](1);
        proof[0] = sibling;
        bytes32 root = leaf < sibling ? keccak256(abi.encode(leaf, sibling)) : keccak256(abi.encode(sibling, leaf));
        vm.assume(root != 0);
        made(root, total);
        try vault.claim(account, amount, proof) {
            assert(vault.claimed(account) == amount && amount <= total && amount > 0);
        } catch {
            assert(vault.claimed(account) == 0);
            return;
        }
        try vault.claim(account, amount, proof) {
            assert(false);
        } catch {}
    }
}
