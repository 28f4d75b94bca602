// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {IRewardVault} from "./interfaces/IRewardVault.sol";

/// @title The rewards of one federation; IRewardVault documents it
contract RewardVault is IRewardVault, ReentrancyGuard {
    using SafeERC20 for IERC20;

    uint8 private constant CREDITS = 0;
    uint8 private constant NATIVE = 1;
    uint8 private constant TOKEN = 2;

    address public immutable distributor;
    address public immutable guardian;
    bytes32 public immutable federation;
    address public immutable asset;
    uint8 public immutable assetKind;
    uint64 public immutable disputeWindow;

    bytes32 public root;
    // One slot, because a claim reads both. Amounts are therefore below 2^128.
    uint128 private _total;
    uint128 private _funded;
    Pending public pending;

    mapping(address account => uint256) public claimed;
    uint256 private _credited;

    constructor(
        address distributor_,
        address guardian_,
        bytes32 federation_,
        address asset_,
        uint8 assetKind_,
        uint64 disputeWindow_
    ) {
        if (distributor_ == address(0) || guardian_ == address(0) || federation_ == 0 || disputeWindow_ == 0) {
            revert ZeroValue();
        }
        bool fits = assetKind_ == TOKEN ? asset_.code.length > 0 : assetKind_ < TOKEN && asset_ == address(0);
        if (!fits) revert WrongAsset(assetKind_, asset_);
        distributor = distributor_;
        guardian = guardian_;
        federation = federation_;
        asset = asset_;
        assetKind = assetKind_;
        disputeWindow = disputeWindow_;
    }

    /// @inheritdoc IRewardVault
    function propose(bytes32 root_, uint256 total_, bytes32 report) external {
        if (msg.sender != distributor) revert NotDistributor(msg.sender);
        if (root_ == 0) revert ZeroValue();
        if (pending.root != 0) revert AlreadyPending(pending.root);
        if (total_ < _total) revert TotalDecreases(_total, total_);
        uint256 limit = assetKind == CREDITS ? type(uint128).max : _funded;
        if (total_ > limit) revert NotFunded(limit, total_);

        uint64 claimableAt = uint64(block.timestamp) + disputeWindow;
        pending = Pending(root_, total_, claimableAt);

        emit Proposed(root_, total_, report, claimableAt);
    }

    /// @inheritdoc IRewardVault
    function dispute(bytes32 root_) external {
        if (msg.sender != guardian) revert NotGuardian(msg.sender);
        if (pending.root == 0 || root_ != pending.root) revert NotPending(pending.root, root_);
        if (block.timestamp >= pending.claimableAt) revert WindowOver(pending.claimableAt);

        delete pending;

        emit Disputed(root_, msg.sender);
    }

    /// @inheritdoc IRewardVault
    function finalize() external {
        Pending memory next = pending;
        if (next.root == 0) revert NotPending(0, 0);
        if (block.timestamp < next.claimableAt) revert WindowOpen(next.claimableAt);

        root = next.root;
        _total = uint128(next.total); // propose() saw that it fits
        delete pending;

        emit Finalized(next.root, next.total);
    }

    /// @inheritdoc IRewardVault
    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external {
        bytes32 leaf = keccak256(bytes.concat(keccak256(abi.encode(block.chainid, address(this), account, cumulative))));
        if (!MerkleProof.verifyCalldata(proof, root, leaf)) revert WrongProof();
        uint256 before = claimed[account];
        if (cumulative <= before) revert NothingToClaim(before, cumulative);
        uint256 amount = cumulative - before;
        if (assetKind != TOKEN) _withinTotal(amount);

        claimed[account] = cumulative;
        if (assetKind == CREDITS) _credited += amount;
        else if (assetKind == NATIVE) Address.sendValue(payable(account), amount);
        else IERC20(asset).safeTransfer(account, amount);

        emit Claimed(account, amount, cumulative);
    }

    /// @inheritdoc IRewardVault
    /// @dev Guarded, because a token that calls back in its transfer would have the same coins counted twice.
    function fund(uint256 amount) external payable nonReentrant {
        uint256 expected = assetKind == NATIVE ? amount : 0;
        if (amount == 0) revert ZeroValue();
        if (assetKind == CREDITS) revert WrongAsset(CREDITS, asset);
        if (msg.value != expected) revert WrongFunding(expected, msg.value);

        uint256 arrived = amount;
        if (assetKind == TOKEN) {
            uint256 before = IERC20(asset).balanceOf(address(this));
            IERC20(asset).safeTransferFrom(msg.sender, address(this), amount);
            arrived = IERC20(asset).balanceOf(address(this)) - before;
        }
        uint256 sum = _funded + arrived;
        if (sum > type(uint128).max) revert WrongFunding(type(uint128).max, sum);
        _funded = uint128(sum);

        emit Funded(msg.sender, arrived, sum);
    }

    /// @inheritdoc IRewardVault
    function total() external view returns (uint256) {
        return _total;
    }

    /// @inheritdoc IRewardVault
    function funded() external view returns (uint256) {
        return _funded;
    }

    /// @dev Refuses what a tree awards beyond its total: credits are counted, and of coins all that lies here beyond what
    /// is not allocated is left. A token has to be asked for its balance, which would cost a claim 3,000 gas more.
    function _withinTotal(uint256 amount) private view {
        (uint256 allocated, uint256 arrived) = (_total, _funded);
        uint256 left;
        if (assetKind == CREDITS) {
            left = allocated - _credited;
        } else {
            (uint256 balance, uint256 unallocated) = (address(this).balance, arrived - allocated);
            left = balance > unallocated ? balance - unallocated : 0;
        }
        if (amount > left) revert MoreThanTotal(left, amount);
    }
}
