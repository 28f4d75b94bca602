// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IFedRegistry} from "../src/interfaces/IFedRegistry.sol";
import {IRoundLedger} from "../src/interfaces/IRoundLedger.sol";
import {Cheats} from "./Cheats.sol";

/// @dev A registry and a ledger of one federation, and links that follow one another.
abstract contract World is Cheats {
    bytes32 internal constant KEY_POSSESSION = keccak256("KeyPossession(bytes32 organisation,address key)");
    bytes32 internal constant FEDERATION = keccak256("federation");
    bytes32 internal constant RUN = keccak256("run");
    address internal constant OPERATOR = address(0x0A11);
    address internal constant ADMIN = address(0x0AD1);
    address internal constant GUARDIAN = address(0x06AD);
    address internal constant STRANGER = address(0x5712);
    uint256 internal constant AGGREGATOR_KEY = uint256(keccak256("aggregator"));
    uint64 internal constant START = 1_800_000_000;
    bytes32 internal constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    IFedRegistry internal registry;
    IRoundLedger internal rounds;
    address internal aggregator;
    bytes32 internal head;
    uint64 internal last;

    function setUp() public virtual {
        vm.warp(START);
        aggregator = vm.addr(AGGREGATOR_KEY);
        registry = IFedRegistry(deployed("FedRegistry", abi.encode(FEDERATION, OPERATOR)));
        rounds = IRoundLedger(deployed("RoundLedger", ledgerArguments(address(0))));
    }

    function ledgerArguments(address predecessor) internal view returns (bytes memory) {
        return abi.encode(address(registry), FEDERATION, ADMIN, aggregator, GUARDIAN, predecessor);
    }

    /// @dev A link after the present head, with digests in which no byte is zero: the dearest calldata.
    function nextLink() internal view returns (IRoundLedger.Link memory link) {
        link.run = RUN;
        link.round = last + 1;
        link.kind = 1;
        link.previousHash = head;
        link.updatesRoot = dense("updates");
        link.rejectedRoot = dense("rejected");
        link.baseModel = dense("base");
        link.modelDigest = dense("model");
        link.manifestDigest = dense("manifest");
        (link.accepted, link.rejected) = (10_000, 3);
    }

    function dense(string memory name) internal pure returns (bytes32) {
        return keccak256(bytes(name)) | bytes32(uint256(0x0101010101010101010101010101010101010101010101010101010101010101));
    }

    /// @dev Seals as the aggregator under the present fence, and moves the head.
    function seal(IRoundLedger.Link memory link) internal returns (bytes32 hash) {
        uint32 fence = rounds.lead().fence;
        vm.prank(aggregator);
        hash = rounds.seal(link, fence);
        (head, last) = (hash, link.round);
    }

    function hashOf(IRoundLedger.Link memory l) internal view returns (bytes32) {
        bytes memory context = abi.encode(block.chainid, rounds, FEDERATION, l.run, l.round, l.kind, l.previousHash);
        bytes memory content = abi.encode(l.updatesRoot, l.rejectedRoot, l.baseModel, l.modelDigest, l.manifestDigest);
        return keccak256(
            bytes.concat(context, abi.encode(registry.registryHead()), content, abi.encode(l.accepted, l.rejected))
        );
    }

    function separator(address verifier) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("fedchain"), keccak256("1"), block.chainid, verifier));
    }

    function typed(address verifier, bytes32 structHash) internal view returns (bytes32) {
        return keccak256(abi.encodePacked(hex"1901", separator(verifier), structHash));
    }

    /// @dev What a key says of itself when it is registered.
    function possessed(bytes32 site, uint256 key) internal view returns (bytes memory) {
        bytes32 words = keccak256(abi.encode(KEY_POSSESSION, site, vm.addr(key)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, typed(address(registry), words));
        return abi.encodePacked(r, s, v);
    }
}
