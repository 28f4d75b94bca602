// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {MessageHashUtils} from "@openzeppelin/contracts/utils/cryptography/MessageHashUtils.sol";
import {P256} from "@openzeppelin/contracts/utils/cryptography/P256.sol";
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

    /// @dev Either a key's signature, or a contract is asked by ERC-1271. The key is tried first: looking for code costs
    /// 2,600 gas, which most signatures need not pay.
    function check(address signer, bytes32 hash, bytes calldata signature) internal view {
        if (signature.length > MAX_SIGNATURE_SIZE) revert SignatureTooLong(MAX_SIGNATURE_SIZE, signature.length);
        if (!isByKey(signer, hash, signature) && !SignatureChecker.isValidERC1271SignatureNowCalldata(signer, hash, signature)) {
            revert WrongSignature(signer);
        }
    }

    /// @notice Whether a bare key signed: secp256k1 in 65 bytes r || s || v, or P-256 in 128 bytes r || s || x || y, whose
    /// address is that of keccak256(x || y). Both libraries refuse an s in the upper half.
    function isByKey(address signer, bytes32 hash, bytes calldata signature) internal view returns (bool) {
        if (signature.length == 128) {
            bytes32 x = bytes32(signature[64:96]);
            bytes32 y = bytes32(signature[96:128]);
            return address(uint160(uint256(keccak256(abi.encode(x, y))))) == signer
                && P256.verify(hash, bytes32(signature[:32]), bytes32(signature[32:64]), x, y);
        }
        (address recovered, ECDSA.RecoverError failure,) = ECDSA.tryRecoverCalldata(hash, signature);
        return failure == ECDSA.RecoverError.NoError && recovered == signer;
    }
}
