// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title What contributors were awarded, and what they took of it: a cumulative Merkle drop.
/// @notice A root covers all that was ever awarded to each account, so that a claim pays the difference to what was
/// claimed before, and an account that never claims loses nothing. The tree is OpenZeppelin's: leaf =
/// keccak256(keccak256(abi.encode(uint256 chain id, address this, address account, uint256 cumulative))), pairs sorted.
/// A root pays only after the dispute window, in which anyone may recompute it from the record and the guardian may
/// cancel it. Nobody can pause, redirect or take back a claim.
/// @dev claimed + claimable + unallocated = funded, if the leaves of a tree sum up to its total and none is less than in
/// the tree before; that this holds is part of what the window is for. Of coins and credits nobody gets more than the total even if they do not; of a token, claims
/// could then reach what no root has allocated. Coins that arrive past fund() count as never claimed. Tokens whose
/// balances change by themselves are not supported; they harm this vault and no other.
interface IRewardVault {
    /// @param root of the tree of cumulative awards
    /// @param total sum of the tree's leaves: all that was ever awarded
    /// @param claimableAt first second in which the root may be made final; 0 where there is no pending root
    struct Pending {
        bytes32 root;
        uint256 total;
        uint64 claimableAt;
    }

    /// @param report digest of the report that leads from the record to the awards
    event Proposed(bytes32 indexed root, uint256 total, bytes32 indexed report, uint64 claimableAt);
    event Disputed(bytes32 indexed root, address indexed by);
    event Finalized(bytes32 indexed root, uint256 total);
    event Claimed(address indexed account, uint256 amount, uint256 cumulative);
    event Funded(address indexed from, uint256 amount, uint256 funded);

    error ZeroValue();
    /// @dev An asset kind beyond ERC-20, or an asset that does not go with its kind.
    error WrongAsset(uint8 kind, address asset);
    error NotDistributor(address got);
    error NotGuardian(address got);
    /// @dev There is a pending root already.
    error AlreadyPending(bytes32 root);
    error NotPending(bytes32 expected, bytes32 got);
    /// @dev Awards are never taken back: the total is at least the last final one.
    error TotalDecreases(uint256 last, uint256 got);
    error NotFunded(uint256 funded, uint256 total);
    error WindowOpen(uint64 until);
    error WindowOver(uint64 since);
    error WrongProof();
    /// @dev The account has claimed all that this proof awards it.
    error NothingToClaim(uint256 claimed, uint256 cumulative);
    /// @dev The tree awards more than its total: what is left belongs to nobody yet.
    error MoreThanTotal(uint256 left, uint256 amount);
    /// @dev The coins sent are not the amount named, or the asset takes none.
    error WrongFunding(uint256 expected, uint256 got);

    /// @notice Puts up a root. One at a time; its window cannot be shortened. Distributor only.
    function propose(bytes32 newRoot, uint256 newTotal, bytes32 report) external;

    /// @notice Cancels the pending root within its window. Guardian only.
    function dispute(bytes32 pendingRoot) external;

    /// @notice Makes the pending root the one that pays, after its window. Anyone.
    function finalize() external;

    /// @notice Pays an account what it was awarded and has not claimed. Anyone, for anyone.
    function claim(address account, uint256 cumulative, bytes32[] calldata proof) external;

    /// @notice Adds to what may be awarded: coins sent along (native), or what arrives of a token. Anyone.
    function fund(uint256 amount) external payable;

    function distributor() external view returns (address);

    function guardian() external view returns (address);

    function federation() external view returns (bytes32);

    /// @notice The token, zero for native coins and credits.
    function asset() external view returns (address);

    /// @notice 0 credits (counted here, never transferred), 1 native coins, 2 ERC-20.
    function assetKind() external view returns (uint8);

    /// @notice Seconds in which a root can be disputed.
    function disputeWindow() external view returns (uint64);

    /// @notice The root that pays, zero before the first one.
    function root() external view returns (bytes32);

    /// @notice All that the final root awards.
    function total() external view returns (uint256);

    function pending() external view returns (bytes32 pendingRoot, uint256 pendingTotal, uint64 claimableAt);

    /// @notice All that an account was paid.
    function claimed(address account) external view returns (uint256);

    /// @notice All that arrived through fund().
    function funded() external view returns (uint256);
}
