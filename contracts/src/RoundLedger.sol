// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Links} from "./Links.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title The ledger of one federation; IRoundLedger documents it
/// @dev All that a seal asks about its sender lies in one slot, because each further one costs every seal 2,100 gas.
contract RoundLedger is IRoundLedger, Ownable2Step {
    uint64 public constant MAX_PAUSE = 7 days;

    address public immutable registry;
    bytes32 public immutable federation;
    address public immutable predecessor;

    Lead private _lead;
    address public guardian;
    uint64 public nextPause;

    mapping(bytes32 run => bytes32 slot) private _heads;
    mapping(address key => bool) public wasAggregator;

    constructor(
        address registry_,
        bytes32 federation_,
        address admin,
        address aggregator,
        address guardian_,
        address predecessor_
    ) Ownable(admin) {
        if (federation_ == 0 || aggregator == address(0)) revert ZeroValue();
        bytes32 registryFederation = IFedRegistry(registry_).federation();
        if (registryFederation != federation_) revert ForeignFederation(federation_, registryFederation);
        if (predecessor_ != address(0)) {
            bytes32 itsFederation = IRoundLedger(predecessor_).federation();
            if (itsFederation != federation_) revert ForeignFederation(federation_, itsFederation);
        }
        registry = registry_;
        federation = federation_;
        predecessor = predecessor_;
        guardian = guardian_;
        _appoint(aggregator);
    }

    /// @inheritdoc IRoundLedger
    function seal(Link calldata link, uint32 fence) external returns (bytes32 roundHash) {
        _guard(fence);
        return _seal(link, IFedRegistry(registry).registryHead());
    }

    /// @inheritdoc IRoundLedger
    function sealMany(Link[] calldata links, uint32 fence) external returns (bytes32[] memory roundHashes) {
        _guard(fence);
        bytes32 registryHead = IFedRegistry(registry).registryHead();
        roundHashes = new bytes32[](links.length);
        for (uint256 i = 0; i < links.length; ++i) {
            roundHashes[i] = _seal(links[i], registryHead);
        }
    }

    /// @inheritdoc IRoundLedger
    function takeOver() external returns (uint32 fence) {
        if (msg.sender != _lead.aggregator) revert NotAggregator(msg.sender);
        fence = ++_lead.fence;

        emit TakenOver(msg.sender, fence);
    }

    /// @inheritdoc IRoundLedger
    function setAggregator(address aggregator) external onlyOwner {
        if (aggregator == address(0)) revert ZeroValue();
        _appoint(aggregator);
    }

    /// @inheritdoc IRoundLedger
    function setGuardian(address guardian_) external onlyOwner {
        guardian = guardian_;

        emit GuardianSet(guardian_);
    }

    /// @inheritdoc IRoundLedger
    function pause(uint64 until) external {
        if (msg.sender != guardian) revert NotGuardian(msg.sender);
        uint64 present = uint64(block.timestamp);
        if (present < nextPause) revert PauseTooEarly(nextPause);
        if (until <= present || until - present > MAX_PAUSE) revert WrongPause(present, present + MAX_PAUSE, until);

        _lead.pausedUntil = until;
        nextPause = until + (until - present);

        emit Paused(until);
    }

    /// @inheritdoc IRoundLedger
    function headOf(bytes32 run) external view returns (bytes32) {
        return _heads[run];
    }

    /// @inheritdoc IRoundLedger
    function lead() external view returns (Lead memory) {
        return _lead;
    }

    function _appoint(address aggregator) private {
        uint32 fence = _lead.fence + 1;
        (_lead.aggregator, _lead.fence) = (aggregator, fence);
        wasAggregator[aggregator] = true;

        emit AggregatorSet(aggregator, fence);
    }

    function _guard(uint32 fence) private view {
        Lead memory present = _lead;
        if (msg.sender != present.aggregator) revert NotAggregator(msg.sender);
        if (fence != present.fence) revert Fenced(present.fence, fence);
        if (block.timestamp < present.pausedUntil) revert IsPaused(present.pausedUntil);
    }

    function _seal(Link calldata link, bytes32 registryHead) private returns (bytes32 roundHash) {
        _check(link);

        roundHash = Links.roundHash(link, address(this), federation, registryHead);
        _heads[link.run] = Links.slot(link.round, roundHash, link.kind == Links.CLOSED);

        _emit(link, roundHash);
    }

    function _check(Link calldata link) private view {
        (uint64 round, uint8 kind) = (link.round, link.kind);
        if (link.run == 0 || round == 0) revert ZeroValue();
        if (kind < Links.SEALED || kind > Links.CLOSED) revert WrongKind(kind);
        if (kind != Links.SEALED && (link.accepted != 0 || link.modelDigest != link.baseModel)) {
            revert ModelChanged(link.run, round);
        }
        // An unused slot is zero, which is no hash of anything.
        bytes32 head = _heads[link.run];
        bytes32 needed = round == 1 ? bytes32(0) : Links.slot(round - 1, link.previousHash, false);
        if (head != needed || (round == 1 && link.previousHash != 0)) revert WrongHead(link.run, head, needed);
    }

    function _emit(Link calldata link, bytes32 roundHash) private {
        if (link.kind == Links.SEALED) {
            emit RoundSealed(
                federation,
                link.run,
                link.round,
                roundHash,
                link.previousHash,
                link.updatesRoot,
                link.rejectedRoot,
                link.baseModel,
                link.modelDigest,
                link.manifestDigest,
                link.accepted,
                link.rejected
            );
        } else if (link.kind == Links.ABORTED) {
            emit RoundAborted(
                federation,
                link.run,
                link.round,
                roundHash,
                link.previousHash,
                link.updatesRoot,
                link.rejectedRoot,
                link.baseModel,
                link.modelDigest,
                link.manifestDigest,
                link.accepted,
                link.rejected
            );
        } else {
            emit RunClosed(
                federation,
                link.run,
                link.round,
                roundHash,
                link.previousHash,
                link.updatesRoot,
                link.rejectedRoot,
                link.baseModel,
                link.modelDigest,
                link.manifestDigest,
                link.accepted,
                link.rejected
            );
        }
    }
}
