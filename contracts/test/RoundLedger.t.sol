// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {World} from "./World.sol";

contract RoundLedgerTest is World {
    function test_a_seal_moves_the_head_to_the_documented_hash() public {
        IRoundLedger.Link memory link = nextLink();
        bytes32 hash = seal(link);
        same(hash, hashOf(link), "round hash");
        same(rounds.headOf(RUN), keccak256(abi.encode(uint64(1), hash)), "slot");
    }

    function test_the_vectors_shared_with_python_give_their_round_hashes() public view {
        string memory json = vm.readFile("../tests/vectors/record.json");
        for (uint256 i = 0; i < 3; ++i) {
            string memory link = string.concat(".links[", vm.toString(i), "]");
            bytes32 expected = vm.parseJsonBytes32(json, string.concat(link, ".roundHash"));
            same(keccak256(vectorWords(json, string.concat(link, ".values."))), expected, "vector");
        }
    }

    function test_phases_opened_by_outsiders() public {
        address[4] memory outsiders = [STRANGER, ADMIN, GUARDIAN, OPERATOR];
        for (uint256 i = 0; i < outsiders.length; ++i) {
            vm.startPrank(outsiders[i]);
            vm.expectRevert(abi.encodeWithSelector(IRoundLedger.NotAggregator.selector, outsiders[i]));
            rounds.seal(nextLink(), 1);
            vm.expectRevert(abi.encodeWithSelector(IRoundLedger.NotAggregator.selector, outsiders[i]));
            rounds.sealMany(new IRoundLedger.Link[](1), 1);
            vm.expectRevert(abi.encodeWithSelector(IRoundLedger.NotAggregator.selector, outsiders[i]));
            rounds.takeOver();
            vm.stopPrank();
        }
        same(rounds.headOf(RUN), 0, "head");
    }

    function test_of_two_processes_with_one_key_the_last_that_took_over_seals() public {
        vm.startPrank(aggregator);
        same(rounds.takeOver(), 2, "first process");
        same(rounds.takeOver(), 3, "second process");
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.Fenced.selector, 3, 2));
        rounds.seal(nextLink(), 2);
        rounds.seal(nextLink(), 3);
        vm.stopPrank();
    }

    function test_another_aggregator_fences_the_first_and_what_it_promised_still_binds_it() public {
        vm.prank(ADMIN);
        rounds.setAggregator(STRANGER);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.NotAggregator.selector, aggregator));
        rounds.seal(nextLink(), 1);
        vm.prank(STRANGER);
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.Fenced.selector, 2, 1));
        rounds.seal(nextLink(), 1);
        vm.prank(STRANGER);
        rounds.seal(nextLink(), 2);
        isTrue(rounds.wasAggregator(aggregator) && rounds.wasAggregator(STRANGER), "both were aggregators");
    }

    function test_only_the_admin_appoints(address sender) public {
        vm.assume(sender != ADMIN);
        vm.startPrank(sender);
        vm.expectRevert();
        rounds.setAggregator(sender);
        vm.expectRevert();
        rounds.setGuardian(sender);
        vm.stopPrank();
    }

    function test_a_pause_stops_sealing_only_and_ends_by_itself(uint64 length) public {
        length = 1 + length % (7 days);
        vm.prank(GUARDIAN);
        rounds.pause(START + length);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.IsPaused.selector, START + length));
        rounds.seal(nextLink(), 1);
        vm.prank(aggregator);
        rounds.takeOver();
        vm.prank(ADMIN);
        rounds.setAggregator(aggregator);
        vm.warp(START + length);
        seal(nextLink());
    }

    function test_no_pause_is_longer_than_seven_days_or_follows_too_soon(uint64 length, uint64 gap) public {
        length = 1 + length % (7 days);
        gap %= length;
        vm.startPrank(GUARDIAN);
        vm.expectPartialRevert(IRoundLedger.WrongPause.selector);
        rounds.pause(START + 7 days + 1);
        vm.expectPartialRevert(IRoundLedger.WrongPause.selector);
        rounds.pause(START);
        rounds.pause(START + length);
        vm.warp(START + length + gap);
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.PauseTooEarly.selector, START + 2 * length));
        rounds.pause(START + length + gap + 1);
        vm.warp(START + 2 * length);
        rounds.pause(START + 2 * length + 1);
        vm.stopPrank();
    }

    function test_only_the_guardian_pauses(address sender) public {
        vm.assume(sender != GUARDIAN);
        vm.prank(sender);
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.NotGuardian.selector, sender));
        rounds.pause(START + 1);
    }

    function test_many_links_are_sealed_in_one_transaction_or_none() public {
        IRoundLedger.Link[] memory links = chain(5);
        vm.prank(aggregator);
        bytes32[] memory hashes = rounds.sealMany(links, 1);
        same(rounds.headOf(RUN), keccak256(abi.encode(uint64(5), hashes[4])), "slot");
        links = chain(3);
        links[2].previousHash = 0;
        vm.prank(aggregator);
        vm.expectPartialRevert(IRoundLedger.WrongHead.selector);
        rounds.sealMany(links, 1);
    }

    function test_a_predecessor_is_of_the_same_federation() public {
        IRoundLedger next = IRoundLedger(deployed("RoundLedger", ledgerArguments(address(rounds))));
        same(next.predecessor(), address(rounds), "predecessor");
        same(rounds.predecessor(), address(0), "first ledger");
        address foreign = deployed("FedRegistry", abi.encode(RUN, OPERATOR));
        vm.expectRevert(abi.encodeWithSelector(IRoundLedger.ForeignFederation.selector, FEDERATION, RUN));
        this.deploy(ledgerArguments(foreign));
    }

    function deploy(bytes calldata arguments) external {
        deployed("RoundLedger", arguments);
    }

    function chain(uint256 length) private view returns (IRoundLedger.Link[] memory links) {
        links = new IRoundLedger.Link[](length);
        bytes32 previous = head;
        for (uint256 i = 0; i < length; ++i) {
            links[i] = nextLink();
            links[i].round = last + uint64(i) + 1;
            links[i].previousHash = previous;
            previous = hashOf(links[i]);
        }
    }

    function vectorWords(string memory json, string memory place) private pure returns (bytes memory words) {
        string[15] memory names = [
            "chainId", "contract", "federation", "run", "round", "kind", "previousHash", "registryHead", "updatesRoot",
            "rejectedRoot", "baseModel", "modelDigest", "manifestDigest", "accepted", "rejected"
        ];
        for (uint256 i = 0; i < names.length; ++i) {
            string memory key = string.concat(place, names[i]);
            bool isNumber = i == 0 || i == 4 || i == 5 || i > 12;
            if (isNumber) words = bytes.concat(words, bytes32(vm.parseJsonUint(json, key)));
            else if (i == 1) words = bytes.concat(words, abi.encode(vm.parseJsonAddress(json, key)));
            else words = bytes.concat(words, vm.parseJsonBytes32(json, key));
        }
    }
}
