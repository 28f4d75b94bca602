// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {IRewardVault} from "../src/interfaces/IRewardVault.sol";

contract Token is ERC20("Token", "T") {
    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }
}

/// @dev Keeps a tenth of every transfer.
contract TaxedToken is Token {
    function _update(address from, address to, uint256 amount) internal override {
        if (from == address(0) || to == address(0)) return super._update(from, to, amount);
        super._update(from, address(0xdead), amount / 10);
        super._update(from, to, amount - amount / 10);
    }
}

/// @dev Refuses one payee.
contract PickyToken is Token {
    address public immutable refused;

    constructor(address refused_) {
        refused = refused_;
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(to != refused, "refused");
        super._update(from, to, amount);
    }
}

/// @dev Calls back into the vault in the middle of a transfer, with whatever it was told.
contract CallingToken is Token {
    address public target;
    bytes public data;
    bool public isCalling;
    bool public succeeded;

    function arm(address target_, bytes calldata data_) external {
        (target, data) = (target_, data_);
        _approve(address(this), target_, type(uint256).max);
    }

    function _update(address from, address to, uint256 amount) internal override {
        if (target != address(0) && !isCalling) {
            isCalling = true;
            (succeeded,) = target.call(data);
            isCalling = false;
        }
        super._update(from, to, amount);
    }
}

/// @dev Returns false, or nothing, or a megabyte, in place of true.
contract OddToken {
    uint256 public immutable size;
    mapping(address account => uint256) public balanceOf;

    constructor(uint256 size_) {
        size = size_;
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        move(from, to, amount);
    }

    function transfer(address to, uint256 amount) external {
        move(msg.sender, to, amount);
    }

    function move(address from, address to, uint256 amount) private {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        uint256 length = size;
        assembly {
            if gt(length, 0x20) { mstore(0, 1) }
            return(0, length)
        }
    }
}

/// @dev A payee of native coins that refuses them, burns all gas, answers with a megabyte, or claims again.
contract Payee {
    enum Mood {
        Glad,
        Refusing,
        Burning,
        Bombing,
        Greedy
    }

    Mood public immutable mood;
    IRewardVault public vault;
    uint256 public cumulative;
    bytes32[] public proof;
    uint256 public tries;

    constructor(Mood mood_) {
        mood = mood_;
    }

    function arm(IRewardVault vault_, uint256 cumulative_, bytes32[] calldata proof_) external {
        (vault, cumulative, proof) = (vault_, cumulative_, proof_);
    }

    receive() external payable {
        if (mood == Mood.Refusing) revert("no");
        if (mood == Mood.Burning) while (true) ++tries;
        if (mood == Mood.Bombing) {
            assembly {
                revert(0, 1000000)
            }
        }
        if (mood == Mood.Greedy) {
            ++tries;
            try vault.claim(address(this), cumulative, proof) {} catch {}
        }
    }
}
