// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChallenges} from "../src/interfaces/IChallenges.sol";
import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {Trees} from "./Trees.sol";
import {World} from "./World.sol";

/// @dev A record with sites, devices and datasets, its challenges, and the preimages of what was sealed.
abstract contract Record is World {
    bytes32 internal constant ROUND_RECEIPT =
        keccak256("RoundReceipt(bytes32 federation,bytes32 run,uint64 round,bytes32 roundHash)");
    bytes32 internal constant INCLUSION_PROMISE =
        keccak256("InclusionPromise(bytes32 federation,bytes32 run,uint64 round,bytes32 leaf,uint64 sealBy)");
    bytes32 internal constant SITE = keccak256("site");
    bytes32 internal constant OTHER_SITE = keccak256("other site");
    address internal constant SITE_ADMIN = address(0x517E);
    address internal constant OTHER_ADMIN = address(0x517F);
    uint256 internal constant DEVICE_KEY = uint256(keccak256("device"));
    uint256 internal constant OTHER_KEY = uint256(keccak256("other device"));
    uint64 internal constant WINDOW = 10 days;
    uint64 internal constant END = START + 1000 days;

    IChallenges internal challenges;
    IChallenges.LinkRecord[] internal records;
    address internal device;
    address internal otherDevice;

    function setUp() public virtual override {
        super.setUp();
        challenges = IChallenges(deployed("Challenges", abi.encode(rounds, WINDOW)));
        (device, otherDevice) = (vm.addr(DEVICE_KEY), vm.addr(OTHER_KEY));
        addSite(SITE, SITE_ADMIN, DEVICE_KEY);
        addSite(OTHER_SITE, OTHER_ADMIN, OTHER_KEY);
    }

    function addSite(bytes32 site, address admin, uint256 key) internal {
        vm.prank(OPERATOR);
        registry.addOrganisation(site, admin);
        addDevice(site, key);
    }

    function addDevice(bytes32 site, uint256 key) internal {
        IFedRegistry.Organisation memory organisation = registry.organisationOf(site);
        bytes memory possession = possessed(site, key);
        vm.prank(organisation.admin);
        registry.registerDevice(
            IFedRegistry.RegisterDevice(site, vm.addr(key), START, END, 1, possession, organisation.nonce + 1), ""
        );
    }

    function revokeDevice(bytes32 site, address key) internal {
        IFedRegistry.Organisation memory organisation = registry.organisationOf(site);
        vm.prank(organisation.admin);
        registry.revokeDevice(IFedRegistry.RevokeDevice(key, 0, organisation.nonce + 1), "");
    }

    /// @dev Seals a link of these roots and keeps its preimage.
    function sealRoots(bytes32 updatesRoot, bytes32 rejectedRoot, uint8 kind) internal returns (bytes32) {
        IRoundLedger.Link memory link = nextLink();
        (link.updatesRoot, link.rejectedRoot, link.kind) = (updatesRoot, rejectedRoot, kind);
        if (kind != 1) (link.accepted, link.modelDigest) = (0, link.baseModel);
        records.push(IChallenges.LinkRecord(link, registry.registryHead()));
        return seal(link);
    }

    function sealSome(uint256 count) internal {
        for (uint256 i = 0; i < count; ++i) {
            sealRoots(dense("updates"), dense("rejected"), 1);
        }
    }

    /// @dev The preimages of the links from a round to another, both included.
    function range(uint64 first, uint64 end) internal view returns (IChallenges.LinkRecord[] memory part) {
        part = new IChallenges.LinkRecord[](end + 1 - first);
        for (uint256 i = 0; i < part.length; ++i) {
            part[i] = records[first - 1 + i];
        }
    }

    function from(uint64 first) internal view returns (IChallenges.LinkRecord[] memory) {
        return range(first, uint64(records.length));
    }

    function none() internal pure returns (IChallenges.LinkRecord[] memory) {
        return new IChallenges.LinkRecord[](0);
    }

    function receiptOf(uint64 round, bytes32 hash) internal pure returns (IChallenges.RoundReceipt memory) {
        return IChallenges.RoundReceipt(FEDERATION, RUN, round, hash);
    }

    function signReceipt(uint256 key, IChallenges.RoundReceipt memory receipt) internal view returns (bytes memory) {
        return signed(key, typed(address(rounds), keccak256(abi.encode(ROUND_RECEIPT, receipt))));
    }

    function promiseId(IChallenges.InclusionPromise memory promised) internal view returns (bytes32) {
        return typed(address(rounds), keccak256(abi.encode(INCLUSION_PROMISE, promised)));
    }

    /// @dev The root over a leaf and two others, and the proof of the leaf.
    function treeWith(bytes32 leaf) internal pure returns (bytes32 root, bytes32[] memory proof) {
        bytes32[] memory leaves = new bytes32[](3);
        (leaves[0], leaves[1], leaves[2]) = (leaf, keccak256("another leaf"), keccak256("a third leaf"));
        bytes32[] memory tree = Trees.nodes(leaves);
        return (tree[0], Trees.proof(tree, leaf));
    }

    function doubly(bytes memory words) internal pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(words)));
    }
}
