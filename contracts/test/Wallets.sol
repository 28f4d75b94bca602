// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @dev ERC-1271 wallets: one that says yes, one that burns all gas, one that answers with a megabyte.
contract Wallet {
    enum Mood {
        Agreeing,
        Burning,
        Bombing,
        Refusing
    }

    Mood public immutable mood;

    constructor(Mood mood_) {
        mood = mood_;
    }

    function isValidSignature(bytes32, bytes calldata) external view returns (bytes4) {
        if (mood == Mood.Burning) {
            uint256 i = 0;
            while (true) ++i;
        }
        if (mood == Mood.Bombing) {
            assembly {
                return(0, 1000000)
            }
        }
        return mood == Mood.Agreeing ? this.isValidSignature.selector : bytes4(0);
    }
}
