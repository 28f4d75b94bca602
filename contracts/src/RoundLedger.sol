// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title The ledger of one federation; IRoundLedger documents it
/// @dev The role lives in this contract's own storage: asking an AccessManager costs 9,000 gas more a seal.
contract RoundLedger is IRoundLedger, AccessControl {
    bytes32 public constant AGGREGATOR_ROLE = keccak256("AGGREGATOR_ROLE");

    uint8 private constant SEALED = 1;
    uint8 private constant ABORTED = 2;
    uint8 private constant CLOSED = 3;

    address public immutable registry;
    bytes32 public immutable federation;

    mapping(bytes32 run => bytes32 slot) private _heads;

    constructor(address registry_, bytes32 federation_, address admin, address aggregator) {
        if (federation_ == 0 || admin == address(0) || aggregator == address(0)) revert ZeroValue();
        bytes32 registryFederation = IFedRegistry(registry_).federation();
        if (registryFederation != federation_) revert ForeignFederation(federation_, registryFederation);
        registry = registry_;
        federation = federation_;
        _grantRole(DEFAULT_ADMIN_ROLE, admin);
        _grantRole(AGGREGATOR_ROLE, aggregator);
    }

    /// @inheritdoc IRoundLedger
    function seal(Link calldata link) external onlyRole(AGGREGATOR_ROLE) returns (bytes32 roundHash) {
        _check(link);

        roundHash = _roundHash(link);
        _heads[link.run] = link.kind == CLOSED
            ? keccak256(abi.encode(link.round, roundHash, "closed"))
            : keccak256(abi.encode(link.round, roundHash));

        _emit(link, roundHash);
    }

    /// @inheritdoc IRoundLedger
    function headOf(bytes32 run) external view returns (bytes32) {
        return _heads[run];
    }

    function _check(Link calldata link) private view {
        (uint64 round, uint8 kind) = (link.round, link.kind);
        if (link.run == 0 || round == 0) revert ZeroValue();
        if (kind < SEALED || kind > CLOSED) revert WrongKind(kind);
        if (kind != SEALED && (link.accepted != 0 || link.modelDigest != link.baseModel)) {
            revert ModelChanged(link.run, round);
        }
        // An unused slot is zero, which is no hash of anything.
        bytes32 head = _heads[link.run];
        bytes32 needed = round == 1 ? bytes32(0) : keccak256(abi.encode(round - 1, link.previousHash));
        if (head != needed || (round == 1 && link.previousHash != 0)) revert WrongHead(link.run, head, needed);
    }

    function _roundHash(Link calldata link) private view returns (bytes32) {
        return keccak256(
            abi.encode(
                block.chainid,
                address(this),
                federation,
                link.run,
                link.round,
                link.kind,
                link.previousHash,
                IFedRegistry(registry).registryHead(),
                link.updatesRoot,
                link.rejectedRoot,
                link.baseModel,
                link.modelDigest,
                link.manifestDigest,
                link.accepted,
                link.rejected
            )
        );
    }

    function _emit(Link calldata link, bytes32 roundHash) private {
        if (link.kind == SEALED) {
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
        } else if (link.kind == ABORTED) {
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
