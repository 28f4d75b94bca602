// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";

/// @title Signed words (EIP-712) under the name "fedchain", version "1"; docs/format.md has the types
library Statements {
    bytes32 private constant DOMAIN =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");

    /// @notice Longest signature in bytes that is looked at.
    uint256 internal constant MAX_SIGNATURE_SIZE = 1024;

    /// @dev A signature is longer than anybody has to read.
    error SignatureTooLong(uint256 limit, uint256 got);
    /// @dev Not this signer's signature over this message.
    error WrongSignature(address signer);

    /// @notice What is signed for a message in the domain of a contract.
    function digest(address verifyingContract, bytes32 structHash) internal view returns (bytes32) {
        return digestIn(domain(verifyingContract), structHash);
    }

    /// @notice The separator of a contract's domain.
    function domain(address verifyingContract) internal view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN, keccak256("fedchain"), keccak256("1"), block.chainid, verifyingContract));
    }

    function digestIn(bytes32 separator, bytes32 structHash) internal pure returns (bytes32) {
        return MessageHashUtils.toTypedDataHash(separator, structHash);
    }

    /// @dev A key signs in 65 bytes with s in the lower half; a contract is asked by ERC-1271. The key is tried first:
    /// looking for code costs 2,600 gas, which most signatures need not pay.
    function check(address signer, bytes32 hash, bytes calldata signature) internal view {
        if (signature.length > MAX_SIGNATURE_SIZE) revert SignatureTooLong(MAX_SIGNATURE_SIZE, signature.length);
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        bool isHis = failure == ECDSA.RecoverError.NoError && recovered == signer;
        if (!isHis && !SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature)) {
            revert WrongSignature(signer);
        }
    }
}
