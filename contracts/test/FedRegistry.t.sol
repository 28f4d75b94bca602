// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {Notes} from "./Invariants.t.sol";
import {World} from "./World.sol";

/// @dev Two sites and a stranger do anything to the registry; what each key, dataset and time once was is kept aside.
contract RegistryActor is World, Notes {
    uint256 private constant KEYS = 4;
    address[3] private people = [address(0x517E), address(0x517F), STRANGER];
    bytes32[2] private sites = [keccak256("site"), keccak256("other site")];
    mapping(address key => bytes32) private ownerOf;
    mapping(address key => uint64) private revokedAt;
    mapping(bytes32 dataset => bytes32) private siteOf;
    mapping(bytes32 => uint64) private withdrawnAt;
    uint256 public actions;
    bytes32 private lastHead;

    constructor() {
        super.setUp();
        for (uint256 i = 0; i < sites.length; ++i) {
            vm.prank(OPERATOR);
            registry.addOrganisation(sites[i], people[i]);
        }
    }

    function setUp() public pure override {
        revert("once");
    }

    function register(uint256 who, uint256 site, uint256 key, uint64 length) external {
        (bytes32 organisation, address device) = (sites[site % 2], keyOf(key));
        bytes memory possession = possessed(organisation, secretOf(key));
        IFedRegistry.RegisterDevice memory message = IFedRegistry.RegisterDevice(
            organisation, device, START, START + length % (9 days), 1, possession, nonce(organisation)
        );
        vm.prank(people[who % 3]);
        registry.registerDevice(message, "");
        note(who % 3 == site % 2, "no site touches another's devices");
        note(ownerOf[device] == 0, "a key belongs to one device for ever");
        ownerOf[device] = organisation;
        moved();
    }

    function revoke(uint256 who, uint256 key, uint64 since) external {
        address device = keyOf(key);
        bytes32 organisation = ownerOf[device];
        IFedRegistry.RevokeDevice memory message =
            IFedRegistry.RevokeDevice(device, START + since % (9 days), nonce(organisation));
        vm.prank(people[who % 3]);
        registry.revokeDevice(message, "");
        note(isOwn(who, organisation), "no site revokes another's devices");
        note(revokedAt[device] == 0, "a revocation time never moves");
        revokedAt[device] = registry.deviceOf(device).revokedAt;
        note(revokedAt[device] >= block.timestamp, "nothing is revoked in the past");
        moved();
    }

    function addDataset(uint256 who, uint256 site, uint256 which) external {
        (bytes32 organisation, bytes32 dataset) = (sites[site % 2], datasetOf(which));
        IFedRegistry.RegisterDataset memory message =
            IFedRegistry.RegisterDataset(dataset, organisation, 10, nonce(organisation));
        vm.prank(people[who % 3]);
        registry.registerDataset(message, "");
        note(who % 3 == site % 2 && siteOf[dataset] == 0, "a dataset is registered once, by its own site");
        siteOf[dataset] = organisation;
        moved();
    }

    function grant(uint256 who, uint256 which, uint64 microEpsilon) external {
        IFedRegistry.ConsentGrant memory message;
        (message.dataset, message.federation, message.from) = (datasetOf(which), FEDERATION, START);
        (message.until, message.microEpsilonGrant, message.nominalSize) = (START + 99 days, microEpsilon, 10);
        message.nonce = nonce(siteOf[message.dataset]);
        vm.prank(people[who % 3]);
        registry.grantConsent(message, "");
        note(isOwn(who, siteOf[message.dataset]), "a cap is set by its own site only");
        withdrawnAt[message.dataset] = 0;
        moved();
    }

    function withdraw(uint256 who, uint256 which) external {
        bytes32 dataset = datasetOf(which);
        IFedRegistry.ConsentWithdraw memory message =
            IFedRegistry.ConsentWithdraw(dataset, 0, 1, nonce(siteOf[dataset]));
        vm.prank(people[who % 3]);
        registry.withdrawConsent(message, "");
        note(isOwn(who, siteOf[dataset]), "consent is withdrawn by its own site only");
        note(withdrawnAt[dataset] == 0, "a withdrawal never moves");
        withdrawnAt[dataset] = uint64(block.timestamp);
        moved();
    }

    function wait(uint64 time) external {
        vm.warp(block.timestamp + time % (1 days));
    }

    function requireRecord() external view {
        isTrue(bytes(broken).length == 0, broken);
        for (uint256 i = 0; i < KEYS; ++i) {
            IFedRegistry.Device memory device = registry.deviceOf(keyOf(i));
            same(device.organisation, ownerOf[keyOf(i)], "owner");
            same(device.revokedAt, revokedAt[keyOf(i)], "revocation");
            same(registry.datasetOf(datasetOf(i)).organisation, siteOf[datasetOf(i)], "site");
            same(registry.consentOf(datasetOf(i)).withdrawnAt, withdrawnAt[datasetOf(i)], "withdrawal");
        }
        same(nonce(sites[0]) + nonce(sites[1]) - 2, actions, "each action uses one nonce");
    }

    function moved() private {
        ++actions;
        note(registry.registryHead() != lastHead, "every action moves the head");
        lastHead = registry.registryHead();
    }

    function isOwn(uint256 who, bytes32 organisation) private view returns (bool) {
        return who % 3 < 2 && organisation == sites[who % 3];
    }

    function nonce(bytes32 organisation) private view returns (uint64) {
        return registry.organisationOf(organisation).nonce + 1;
    }

    function secretOf(uint256 key) private pure returns (uint256) {
        return 0xD0 + key % KEYS;
    }

    function keyOf(uint256 key) private pure returns (address) {
        return vm.addr(secretOf(key));
    }

    function datasetOf(uint256 which) private pure returns (bytes32) {
        return keccak256(abi.encode("dataset", which % KEYS));
    }
}

contract RegistryInvariantTest {
    RegistryActor private actor;

    function setUp() public {
        actor = new RegistryActor();
    }

    function targetContracts() external view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(actor);
    }

    function invariant_no_site_touches_anothers_records_and_no_time_moves() external view {
        actor.requireRecord();
    }
}
