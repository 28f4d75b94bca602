// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Hashes} from "@openzeppelin/contracts/utils/cryptography/Hashes.sol";
import {Vm} from "./Cheats.sol";

/// @dev OpenZeppelin's StandardMerkleTree in Solidity, as fedchain/core/merkle.py has it; merkle.json holds both to it.
library Trees {
    Vm private constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    function nodes(bytes32[] memory leaves) internal pure returns (bytes32[] memory tree) {
        bytes32[] memory ordered = descending(leaves);
        uint256 count = ordered.length;
        tree = new bytes32[](2 * count - 1);
        for (uint256 i = 0; i < count; ++i) {
            tree[count - 1 + i] = ordered[i];
        }
        for (uint256 i = count - 1; i > 0; --i) {
            tree[i - 1] = Hashes.commutativeKeccak256(tree[2 * i - 1], tree[2 * i]);
        }
    }

    function proof(bytes32[] memory tree, bytes32 leaf) internal pure returns (bytes32[] memory path) {
        uint256 index = tree.length / 2;
        while (tree[index] != leaf) ++index;
        uint256 depth = 0;
        for (uint256 i = index; i > 0; i = (i - 1) / 2) {
            ++depth;
        }
        path = new bytes32[](depth);
        for (uint256 i = 0; index > 0; ++i) {
            path[i] = tree[index % 2 == 1 ? index + 1 : index - 1];
            index = (index - 1) / 2;
        }
    }

    function descending(bytes32[] memory leaves) private pure returns (bytes32[] memory ordered) {
        uint256[] memory numbers = new uint256[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            numbers[i] = uint256(leaves[i]);
        }
        numbers = vm.sort(numbers);
        ordered = new bytes32[](leaves.length);
        for (uint256 i = 0; i < leaves.length; ++i) {
            ordered[i] = bytes32(numbers[leaves.length - 1 - i]);
        }
    }
}
