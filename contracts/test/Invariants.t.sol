// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRewardVault} from "../src/interfaces/IRewardVault.sol";
import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {VaultWorld} from "./RewardVault.t.sol";
import {Token} from "./Tokens.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev A handler must not revert where something is wrong: the fuzzer skips calls that revert. So it takes a note.
abstract contract Notes {
    string public broken;

    function note(bool claim, string memory what) internal {
        if (!claim) broken = what;
    }
}

/// @dev Anybody does anything to a ledger, in any order; it keeps its own account of what may have happened.
contract LedgerActor is World, Notes {
    address[5] private people;
    uint32[4] private fences;
    uint256 public seals;
    uint64 public openFrom;

    constructor() {
        super.setUp();
        people = [aggregator, STRANGER, ADMIN, GUARDIAN, OPERATOR];
        openFrom = START;
    }

    function setUp() public pure override {
        revert("once");
    }

    function sealAs(uint256 who, uint256 fenceOf, uint8 kind, uint64 round, bool isLinked) external {
        IRoundLedger.Lead memory lead = rounds.lead();
        IRoundLedger.Link memory link = nextLink();
        link.kind = uint8(1 + kind % 2);
        if (link.kind == 2) (link.accepted, link.modelDigest) = (0, link.baseModel);
        if (round % 4 == 0) link.round = round;
        if (!isLinked) link.previousHash = keccak256(abi.encode(who));
        address sender = people[who % people.length];
        uint32 fence = fenceOf % 4 == 0 ? lead.fence : fences[fenceOf % fences.length];
        bool fits = link.round == last + 1 && link.previousHash == head;
        bool may = sender == lead.aggregator && fence == lead.fence && block.timestamp >= openFrom;
        vm.prank(sender);
        try rounds.seal(link, fence) returns (bytes32 hash) {
            note(fits && may, "only the fenced aggregator's next seal moves the head");
            (head, last) = (hash, link.round);
            ++seals;
        } catch {
            note(!fits || !may, "a seal that fits is taken");
        }
    }

    function takeOver(uint256 who) external {
        vm.prank(people[who % people.length]);
        try rounds.takeOver() returns (uint32 fence) {
            fences[fence % fences.length] = fence;
        } catch {}
    }

    function appoint(uint256 who, uint256 whom) external {
        vm.prank(people[who % people.length]);
        try rounds.setAggregator(people[whom % 2]) {
            note(who % people.length == 2, "only the admin appoints");
        } catch {}
    }

    function pause(uint256 who, uint64 length) external {
        uint64 until = uint64(block.timestamp) + length % (8 days);
        vm.prank(people[who % people.length]);
        try rounds.pause(until) {
            note(who % people.length == 3, "only the guardian pauses");
            note(until - block.timestamp <= 7 days, "at most seven days");
            openFrom = until;
        } catch {}
    }

    function wait(uint64 time) external {
        vm.warp(block.timestamp + time % (3 days));
    }

    function requireHead() external view {
        isTrue(bytes(broken).length == 0, broken);
        same(rounds.headOf(RUN), last == 0 ? bytes32(0) : keccak256(abi.encode(last, head)), "head");
        same(last, seals, "one seal a round");
        isTrue(rounds.lead().pausedUntil <= block.timestamp + 7 days, "every pause ends");
    }
}

contract LedgerInvariantTest {
    LedgerActor private actor;

    function setUp() public {
        actor = new LedgerActor();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function invariant_head_changes_only_by_the_next_seal_of_the_fenced_aggregator() external view {
        actor.requireHead();
    }
}

/// @dev Awards only grow; anybody funds, proposes, disputes, finalizes and claims, with fresh and with old proofs.
contract VaultActor is VaultWorld, Notes {
    uint256 private constant ACCOUNTS = 5;
    uint8 public immutable kind;
    IRewardVault public vault;
    Token private token;
    Award[] private awards;
    mapping(bytes32 root => Award[]) private trees;
    bytes32[] private roots;
    uint256 public paid;
    uint256 private floor; // of the total
    uint64 private proposedAt;

    constructor(uint8 kind_) {
        kind = kind_;
        token = new Token();
        vault = vaultOf(kind == TOKEN ? address(token) : address(0), kind);
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            awards.push(Award(address(uint160(0x10000 + i)), 1));
        }
    }

    function fund(uint64 amount) external {
        if (kind == TOKEN) {
            token.mint(address(this), amount);
            token.approve(address(vault), amount);
            vault.fund(amount);
        } else {
            vm.deal(address(this), amount);
            vault.fund{value: kind == NATIVE ? amount : 0}(amount);
        }
    }

    function propose(uint256 whom, uint32 more, bool isRightful) external {
        Award[] memory next = awards;
        next[whom % ACCOUNTS].cumulative += more;
        bytes32[] memory tree = treeOf(vault, next);
        vm.prank(isRightful ? DISTRIBUTOR : ANYONE);
        vault.propose(tree[0], sum(next), REPORT);
        note(isRightful, "only the distributor proposes");
        awards[whom % ACCOUNTS].cumulative += more;
        proposedAt = uint64(block.timestamp);
        roots.push(tree[0]);
        delete trees[tree[0]];
        for (uint256 i = 0; i < next.length; ++i) {
            trees[tree[0]].push(next[i]);
        }
    }

    function dispute(bool isGuardian, uint8 mood) external {
        if (mood % 4 != 0) return;
        (bytes32 root,,) = vault.pending();
        vm.prank(isGuardian ? GUARDIAN : DISTRIBUTOR);
        vault.dispute(root);
        note(isGuardian && block.timestamp < proposedAt + WINDOW, "only the guardian, within the window");
    }

    function finalize(bool isPatient) external {
        if (isPatient) vm.warp(block.timestamp + WINDOW);
        vault.finalize();
        note(block.timestamp >= proposedAt + WINDOW, "no window is shortened");
        note(vault.total() >= floor, "awards are never taken back");
        floor = vault.total();
    }

    function claim(uint256 whichTree, uint256 whom) external {
        if (roots.length == 0) return;
        bytes32 root = whichTree % 4 == 0 ? roots[whichTree % roots.length] : vault.root();
        Award[] memory tree = trees[root];
        Award memory award = tree[whom % ACCOUNTS];
        uint256 before = vault.claimed(award.account);
        claim(vault, treeOf(vault, tree), award);
        note(root == vault.root() && award.cumulative > before, "only the final root pays, and only more");
        note(vault.claimed(award.account) == award.cumulative, "claimed is what was proven");
        paid += award.cumulative - before;
    }

    function wait(uint64 time) external {
        vm.warp(block.timestamp + time % (2 days));
    }

    function requireConservation() external view {
        isTrue(bytes(broken).length == 0, broken);
        uint256 claimed = 0;
        uint256 owned = 0;
        for (uint256 i = 0; i < ACCOUNTS; ++i) {
            address account = awards[i].account;
            claimed += vault.claimed(account);
            owned += kind == TOKEN ? token.balanceOf(account) : account.balance;
        }
        same(claimed, paid, "claimed is what claims said");
        isTrue(claimed <= vault.total(), "nothing beyond the total");
        if (kind == 0) return;
        isTrue(vault.total() <= vault.funded(), "solvent");
        same(owned, paid, "everything claimed arrived");
        uint256 left = kind == TOKEN ? token.balanceOf(address(vault)) : address(vault).balance;
        same(paid + left, vault.funded(), "claimed + claimable + unallocated = funded");
    }
}

abstract contract VaultInvariants {
    VaultActor private actor;

    function setUp() public {
        actor = new VaultActor(kind());
    }

    function kind() internal pure virtual returns (uint8);

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function invariant_what_was_paid_and_what_is_left_is_what_was_funded() external view {
        actor.requireConservation();
    }
}

contract CreditsInvariantTest is VaultInvariants {
    function kind() internal pure override returns (uint8) {
        return 0;
    }
}

contract CoinsInvariantTest is VaultInvariants {
    function kind() internal pure override returns (uint8) {
        return 1;
    }
}

contract TokenInvariantTest is VaultInvariants {
    function kind() internal pure override returns (uint8) {
        return 2;
    }
}
