// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {AccessControl} from "@openzeppelin/contracts/access/AccessControl.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {SignatureChecker} from "@openzeppelin/contracts/utils/cryptography/SignatureChecker.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {Statements} from "./Statements.sol";

/// @title The registry of one federation; IFedRegistry documents it
contract FedRegistry is IFedRegistry, AccessControl, EIP712 {
    bytes32 public constant OPERATOR_ROLE = keccak256("OPERATOR_ROLE");

    /// @notice Longest signature in bytes. Events keep signatures, so that their size is every reader's cost.
    uint256 public constant MAX_SIGNATURE_SIZE = 1024;

    bytes32 private constant ADD_ORGANISATION =
        keccak256("AddOrganisation(bytes32 organisation,address admin,uint64 nonce)");
    bytes32 private constant KEY_POSSESSION = keccak256("KeyPossession(bytes32 organisation,address key)");
    bytes32 private constant ROTATE_ADMIN =
        keccak256("RotateAdmin(bytes32 organisation,address admin,bytes possession,uint64 nonce)");
    bytes32 private constant REGISTER_DEVICE = keccak256(
        "RegisterDevice(bytes32 organisation,address device,uint64 validFrom,uint64 validUntil,uint8 deviceClass,bytes possession,uint64 nonce)"
    );
    bytes32 private constant REVOKE_DEVICE = keccak256("RevokeDevice(address device,uint64 at,uint64 nonce)");
    bytes32 private constant REGISTER_DATASET =
        keccak256("RegisterDataset(bytes32 dataset,bytes32 organisation,uint32 nominalSize,uint64 nonce)");
    bytes32 private constant CONSENT_GRANT = keccak256(
        "ConsentGrant(bytes32 dataset,bytes32 federation,bytes32 policy,uint64 from,uint64 until,uint64 microEpsilonGrant,uint64 deltaE12,bytes32 unit,uint32 nominalSize,uint64 nonce)"
    );
    bytes32 private constant CONSENT_WITHDRAW =
        keccak256("ConsentWithdraw(bytes32 dataset,uint64 at,uint8 reason,uint64 nonce)");

    bytes32 public immutable federation;

    bytes32 public registryHead;

    mapping(bytes32 organisation => Organisation) private _organisations;
    mapping(address device => Device) private _devices;
    mapping(bytes32 dataset => Dataset) private _datasets;
    mapping(bytes32 dataset => Consent) private _consents;

    constructor(bytes32 federation_, address operator) EIP712("fedchain", "1") {
        if (federation_ == 0 || operator == address(0)) revert ZeroValue();
        federation = federation_;
        _grantRole(DEFAULT_ADMIN_ROLE, operator);
        _grantRole(OPERATOR_ROLE, operator);
    }

    /// @inheritdoc IFedRegistry
    function addOrganisation(bytes32 organisation, address admin) external onlyRole(OPERATOR_ROLE) {
        if (organisation == 0 || admin == address(0)) revert ZeroValue();
        if (_organisations[organisation].admin != address(0)) revert OrganisationExists(organisation);

        _organisations[organisation].admin = admin;
        AddOrganisation memory message = AddOrganisation(organisation, admin, 0);
        uint64 recordedAt = _advance(keccak256(abi.encode(ADD_ORGANISATION, message)));

        emit OrganisationAdded(organisation, message, recordedAt);
    }

    /// @inheritdoc IFedRegistry
    function rotateAdmin(RotateAdmin calldata message, bytes calldata signature) external {
        if (message.admin == address(0)) revert ZeroValue();
        bytes32 structHash = keccak256(
            abi.encode(
                ROTATE_ADMIN, message.organisation, message.admin, keccak256(message.possession), message.nonce
            )
        );
        _verify(message.organisation, message.nonce, structHash, signature);
        _checkLength(message.possession);
        bytes32 digest = _possession(message.organisation, message.admin);
        if (!SignatureChecker.isValidSignatureNow(message.admin, digest, message.possession)) {
            revert NotPossessed(message.admin);
        }

        _organisations[message.organisation].admin = message.admin;
        uint64 recordedAt = _use(message.organisation, message.nonce, structHash);

        emit AdminRotated(message.organisation, message.admin, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function registerDevice(RegisterDevice calldata message, bytes calldata signature) external {
        if (message.device == address(0)) revert ZeroValue();
        if (message.validUntil <= message.validFrom) revert EmptyWindow(message.validFrom, message.validUntil);
        if (_devices[message.device].organisation != 0) revert DeviceExists(message.device);
        bytes32 structHash = keccak256(
            abi.encode(
                REGISTER_DEVICE,
                message.organisation,
                message.device,
                message.validFrom,
                message.validUntil,
                message.deviceClass,
                keccak256(message.possession),
                message.nonce
            )
        );
        _verify(message.organisation, message.nonce, structHash, signature);
        bytes32 digest = _possession(message.organisation, message.device);
        // A device is a bare key, never a contract.
        if (!Statements.isByKey(message.device, digest, message.possession)) revert NotPossessed(message.device);

        _devices[message.device] = Device({
            organisation: message.organisation,
            validFrom: message.validFrom,
            validUntil: message.validUntil,
            revokedAt: 0,
            deviceClass: message.deviceClass
        });
        uint64 recordedAt = _use(message.organisation, message.nonce, structHash);

        emit DeviceRegistered(message.organisation, message.device, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function revokeDevice(RevokeDevice calldata message, bytes calldata signature) external {
        Device storage device = _devices[message.device];
        bytes32 organisation = device.organisation;
        if (organisation == 0) revert UnknownDevice(message.device);
        if (device.revokedAt != 0) revert DeviceAlreadyRevoked(message.device, device.revokedAt);
        // A time far in the future, milliseconds for seconds say, would leave the key alive for ever.
        if (message.since > device.validUntil) revert AfterTheEnd(device.validUntil, message.since);
        bytes32 structHash = keccak256(abi.encode(REVOKE_DEVICE, message));
        _verify(organisation, message.nonce, structHash, signature);

        device.revokedAt = _notBeforeNow(message.since);
        uint64 recordedAt = _use(organisation, message.nonce, structHash);

        emit DeviceRevoked(organisation, message.device, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function registerDataset(RegisterDataset calldata message, bytes calldata signature) external {
        if (message.dataset == 0 || message.nominalSize == 0) revert ZeroValue();
        if (_datasets[message.dataset].organisation != 0) revert DatasetExists(message.dataset);
        bytes32 structHash = keccak256(abi.encode(REGISTER_DATASET, message));
        _verify(message.organisation, message.nonce, structHash, signature);

        _datasets[message.dataset] = Dataset(message.organisation, message.nominalSize);
        uint64 recordedAt = _use(message.organisation, message.nonce, structHash);

        emit DatasetRegistered(message.organisation, message.dataset, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function grantConsent(ConsentGrant calldata message, bytes calldata signature) external {
        Dataset storage dataset = _datasets[message.dataset];
        bytes32 organisation = dataset.organisation;
        if (organisation == 0) revert UnknownDataset(message.dataset);
        if (message.federation != federation) revert ForeignFederation(federation, message.federation);
        if (message.nominalSize != dataset.nominalSize) {
            revert WrongNominalSize(dataset.nominalSize, message.nominalSize);
        }
        if (message.until <= message.from) revert EmptyWindow(message.from, message.until);
        bytes32 structHash = keccak256(abi.encode(CONSENT_GRANT, message));
        _verify(organisation, message.nonce, structHash, signature);

        _consents[message.dataset] = Consent({
            policy: message.policy,
            unit: message.unit,
            from: message.from,
            until: message.until,
            microEpsilonGrant: message.microEpsilonGrant,
            deltaE12: message.deltaE12,
            grantedAt: uint64(block.timestamp),
            withdrawnAt: 0
        });
        uint64 recordedAt = _use(organisation, message.nonce, structHash);

        emit ConsentGranted(organisation, message.dataset, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function withdrawConsent(ConsentWithdraw calldata message, bytes calldata signature) external {
        Consent storage consent = _consents[message.dataset];
        if (consent.grantedAt == 0) revert NoConsent(message.dataset);
        if (consent.withdrawnAt != 0) revert ConsentAlreadyWithdrawn(message.dataset, consent.withdrawnAt);
        if (message.since > consent.until) revert AfterTheEnd(consent.until, message.since);
        bytes32 organisation = _datasets[message.dataset].organisation;
        bytes32 structHash = keccak256(abi.encode(CONSENT_WITHDRAW, message));
        _verify(organisation, message.nonce, structHash, signature);

        consent.withdrawnAt = _notBeforeNow(message.since);
        uint64 recordedAt = _use(organisation, message.nonce, structHash);

        emit ConsentWithdrawn(organisation, message.dataset, message, recordedAt, signature);
    }

    /// @inheritdoc IFedRegistry
    function organisationOf(bytes32 organisation) external view returns (Organisation memory) {
        return _organisations[organisation];
    }

    /// @inheritdoc IFedRegistry
    function deviceOf(address device) external view returns (Device memory) {
        return _devices[device];
    }

    /// @inheritdoc IFedRegistry
    function datasetOf(bytes32 dataset) external view returns (Dataset memory) {
        return _datasets[dataset];
    }

    /// @inheritdoc IFedRegistry
    function consentOf(bytes32 dataset) external view returns (Consent memory) {
        return _consents[dataset];
    }

    /// @dev The signature check may call an ERC-1271 admin, but only by staticcall: it cannot re-enter with effect.
    function _verify(bytes32 organisation, uint64 nonce, bytes32 structHash, bytes calldata signature) private view {
        address admin = _organisations[organisation].admin;
        if (admin == address(0)) revert UnknownOrganisation(organisation);
        uint64 expected = _organisations[organisation].nonce + 1;
        if (nonce != expected) revert WrongNonce(expected, nonce);
        _checkLength(signature);
        bool authorised = signature.length == 0
            ? msg.sender == admin
            : SignatureChecker.isValidSignatureNow(admin, _hashTypedDataV4(structHash), signature);
        if (!authorised) revert NotAuthorised(admin);
    }

    function _checkLength(bytes calldata signature) private pure {
        if (signature.length > MAX_SIGNATURE_SIZE) revert SignatureTooLong(MAX_SIGNATURE_SIZE, signature.length);
    }

    function _possession(bytes32 organisation, address key) private view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(KEY_POSSESSION, organisation, key)));
    }

    function _use(bytes32 organisation, uint64 nonce, bytes32 structHash) private returns (uint64 recordedAt) {
        _organisations[organisation].nonce = nonce;
        return _advance(structHash);
    }

    function _advance(bytes32 structHash) private returns (uint64 recordedAt) {
        recordedAt = uint64(block.timestamp);
        registryHead = keccak256(abi.encode(registryHead, structHash, recordedAt));
    }

    function _notBeforeNow(uint64 time) private view returns (uint64) {
        uint64 present = uint64(block.timestamp);
        return time < present ? present : time;
    }
}
