// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @title Who takes part in a federation, and what each site consents to.
/// @notice A site administers its own devices, datasets and consents; nobody does it for it. Every action but the
/// operator's is a message that the organisation's admin signed (EIP-712, domain "fedchain" version "1"), relayed by
/// anyone, or sent by the admin itself with an empty signature. The admin may be a key or an ERC-1271 contract.
/// @dev Nothing personal is stored: identifiers are salted commitments, everything else is an integer.
interface IFedRegistry {
    /// @dev Hashed into the head with nonce 0 and never signed: only the operator adds organisations.
    struct AddOrganisation {
        bytes32 organisation;
        address admin;
        uint64 nonce;
    }

    /// @param possession the new admin's signature of KeyPossession(bytes32 organisation,address key); a key or an
    /// ERC-1271 contract
    struct RotateAdmin {
        bytes32 organisation;
        address admin;
        bytes possession;
        uint64 nonce;
    }

    /// @param validFrom first second in which the device may sign
    /// @param validUntil first second in which it may no longer sign
    /// @param possession the device key's signature of KeyPossession(bytes32 organisation,address key): 65 bytes
    /// r || s || v of secp256k1, or 128 bytes r || s || x || y of P-256, whose address is that of keccak256(x || y)
    struct RegisterDevice {
        bytes32 organisation;
        address device;
        uint64 validFrom;
        uint64 validUntil;
        uint8 deviceClass;
        bytes possession;
        uint64 nonce;
    }

    /// @param since the signed member `at` (a word that Solidity is about to reserve): second from which the revocation
    /// holds; a time that has passed means the block's own time
    struct RevokeDevice {
        address device;
        uint64 since;
        uint64 nonce;
    }

    /// @param dataset salted commitment
    /// @param nominalSize public number of rows; the weight of the dataset's updates
    struct RegisterDataset {
        bytes32 dataset;
        bytes32 organisation;
        uint32 nominalSize;
        uint64 nonce;
    }

    /// @param policy digest of the policy document
    /// @param from first second of the window
    /// @param until first second after the window
    /// @param microEpsilonGrant most epsilon over the dataset's lifetime, in millionths
    /// @param deltaE12 the fixed delta, times 1e12
    /// @param unit what the privacy protects (an example, a person), as a digest
    struct ConsentGrant {
        bytes32 dataset;
        bytes32 federation;
        bytes32 policy;
        uint64 from;
        uint64 until;
        uint64 microEpsilonGrant;
        uint64 deltaE12;
        bytes32 unit;
        uint32 nominalSize;
        uint64 nonce;
    }

    /// @param since the signed member `at`: second from which the withdrawal holds; a time that has passed means the
    /// block's own time
    struct ConsentWithdraw {
        bytes32 dataset;
        uint64 since;
        uint8 reason;
        uint64 nonce;
    }

    /// @param nonce the last nonce that this organisation used; its next message carries nonce + 1
    struct Organisation {
        address admin;
        uint64 nonce;
    }

    /// @param revokedAt second from which the key is revoked, 0 while it is not
    struct Device {
        bytes32 organisation;
        uint64 validFrom;
        uint64 validUntil;
        uint64 revokedAt;
        uint8 deviceClass;
    }

    struct Dataset {
        bytes32 organisation;
        uint32 nominalSize;
    }

    /// @param grantedAt block time of the grant, 0 where there never was one
    /// @param withdrawnAt second from which the grant is withdrawn, 0 while it is not
    struct Consent {
        bytes32 policy;
        bytes32 unit;
        uint64 from;
        uint64 until;
        uint64 microEpsilonGrant;
        uint64 deltaE12;
        uint64 grantedAt;
        uint64 withdrawnAt;
    }

    // Each event carries its message whole, the block time that entered the head, and the signature (empty where the
    // admin sent the transaction itself), so that the log alone is enough to check every action again.
    event OrganisationAdded(bytes32 indexed organisation, AddOrganisation message, uint64 recordedAt);
    event AdminRotated(
        bytes32 indexed organisation, address indexed admin, RotateAdmin message, uint64 recordedAt, bytes signature
    );
    event DeviceRegistered(
        bytes32 indexed organisation,
        address indexed device,
        RegisterDevice message,
        uint64 recordedAt,
        bytes signature
    );
    event DeviceRevoked(
        bytes32 indexed organisation, address indexed device, RevokeDevice message, uint64 recordedAt, bytes signature
    );
    event DatasetRegistered(
        bytes32 indexed organisation,
        bytes32 indexed dataset,
        RegisterDataset message,
        uint64 recordedAt,
        bytes signature
    );
    event ConsentGranted(
        bytes32 indexed organisation, bytes32 indexed dataset, ConsentGrant message, uint64 recordedAt, bytes signature
    );
    event ConsentWithdrawn(
        bytes32 indexed organisation,
        bytes32 indexed dataset,
        ConsentWithdraw message,
        uint64 recordedAt,
        bytes signature
    );

    /// @dev An identifier, an address or a size that must not be zero is zero.
    error ZeroValue();
    /// @dev A window ends before it starts.
    error EmptyWindow(uint64 from, uint64 until);
    /// @dev A revocation or withdrawal would start after the end of what it revokes.
    error AfterTheEnd(uint64 end, uint64 got);
    error OrganisationExists(bytes32 organisation);
    error UnknownOrganisation(bytes32 organisation);
    /// @dev The key that is to be registered did not itself say that it belongs to the organisation.
    error NotPossessed(address key);
    error DeviceExists(address device);
    error UnknownDevice(address device);
    /// @dev A revocation time never moves.
    error DeviceAlreadyRevoked(address device, uint64 revokedAt);
    error DatasetExists(bytes32 dataset);
    error UnknownDataset(bytes32 dataset);
    error WrongNominalSize(uint32 expected, uint32 got);
    error ForeignFederation(bytes32 expected, bytes32 got);
    error NoConsent(bytes32 dataset);
    error ConsentAlreadyWithdrawn(bytes32 dataset, uint64 withdrawnAt);
    error WrongNonce(uint64 expected, uint64 got);
    error SignatureTooLong(uint256 limit, uint256 got);
    /// @dev Neither a valid signature by the admin over this message nor the admin itself.
    error NotAuthorised(address admin);

    /// @notice Adds an organisation with its admin key, once and for ever. Operator only.
    function addOrganisation(bytes32 organisation, address admin) external;

    /// @notice Hands an organisation's administration to another key; the old one signs, the new one proves itself.
    function rotateAdmin(RotateAdmin calldata message, bytes calldata signature) external;

    /// @notice Adds a device key. A key belongs to one device for ever, also after its revocation.
    function registerDevice(RegisterDevice calldata message, bytes calldata signature) external;

    /// @notice Revokes a device key from max(message.since, now) on. The time never moves again.
    function revokeDevice(RevokeDevice calldata message, bytes calldata signature) external;

    /// @notice Adds a dataset to its one organisation.
    function registerDataset(RegisterDataset calldata message, bytes calldata signature) external;

    /// @notice Grants training on a dataset. A later grant replaces an earlier one, withdrawn or not.
    function grantConsent(ConsentGrant calldata message, bytes calldata signature) external;

    /// @notice Withdraws the present grant from max(message.since, now) on. Final until there is a new grant.
    function withdrawConsent(ConsentWithdraw calldata message, bytes calldata signature) external;

    /// @notice The federation that this registry belongs to.
    function federation() external view returns (bytes32);

    /// @notice Rolling hash of all actions: keccak256(abi.encode(head, structHash, uint64 block time)), from zero.
    function registryHead() external view returns (bytes32);

    function organisationOf(bytes32 organisation) external view returns (Organisation memory);

    function deviceOf(address device) external view returns (Device memory);

    function datasetOf(bytes32 dataset) external view returns (Dataset memory);

    function consentOf(bytes32 dataset) external view returns (Consent memory);
}
