// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {IChallenges} from "./IChallenges.sol";

/// @title Which datasets spent more privacy than their sites granted, or less than before: proven, and frozen.
/// @notice Grants stand in the registry; the loss of a dataset so far stands in each signed update beneath the roots of
/// the links. Whoever shows an included update that breaks a rule freezes its dataset. Only a newer consent of the
/// dataset's own site lifts a freeze; no hub can, and there is no function for it.
/// @dev Punishable are updates under the present consent and its policy only: signed by a device of the dataset's own
/// organisation, valid at the deadline, which lies after the grant; at the delta and the unit of the grant. The grant's
/// unit is a digest; its preimage tells a lifetime grant ("example/lifetime") from a sandbox grant ("example/sandbox"),
/// which is capped per run only and never punished. An update without any bound (2^64 - 1), which a policy may allow, is
/// not punished either. Rounds of different runs have no order on the ledger, so a decrease is shown within one run.
interface IPrivacyLedger {
    struct ClientUpdate {
        bytes32 federation;
        bytes32 run;
        uint64 round;
        bytes32 baseModel;
        bytes32 updateCommit;
        bytes32 payloadCid;
        bytes32 dataset;
        bytes32 policy;
        uint32 weight;
        uint64 microEpsilonTotal;
        bytes32 dpParams;
        bytes32 codeDigest;
        bytes32 configDigest;
        bytes32 envDigest;
        uint64 nonce;
        uint64 deadline;
    }

    /// @param payloadCodec fourth member of the update's leaf
    /// @param proof from the leaf to the updates root of its link
    /// @param dpParams the document whose digest is signed
    /// @param deltaAt place in the document at which `"delta_e12":` stands
    /// @param unitAt place in the document at which `"unit":` stands
    struct Evidence {
        ClientUpdate update;
        address signer;
        bytes signature;
        uint64 payloadCodec;
        bytes32[] proof;
        bytes dpParams;
        uint256 deltaAt;
        uint256 unitAt;
    }

    /// @param limit the grant, or the earlier total
    event DatasetFrozen(
        bytes32 indexed dataset,
        bytes32 indexed run,
        uint64 indexed round,
        uint64 microEpsilonTotal,
        uint64 limit
    );

    error AlreadyFrozen(bytes32 dataset, uint64 since);
    /// @dev The update is of another federation, run or round than the link, or of another dataset than the first.
    error OtherLink(bytes32 run, uint64 round);
    error WrongProof();
    /// @dev Not a device of the dataset's organisation, or not valid at the deadline.
    error ForeignDevice(address signer);
    /// @dev The update is not under the present consent: another policy, or a deadline before the grant.
    error OtherConsent(bytes32 dataset);
    /// @dev The text is not the preimage of the grant's unit, or the grant is not for a lifetime.
    error NotLifetime(string unit);
    /// @dev The document is not the signed one, or states another delta or unit than the grant.
    error OtherPrivacy();
    /// @dev The total is within the limit, or has no bound.
    error NothingWrong(uint64 total, uint64 limit);

    /// @notice Freezes a dataset by an update whose total is above the grant.
    /// @param unit preimage of the grant's unit, such as "example/lifetime"
    /// @param records proof of the update's link
    function challengeOverspend(
        Evidence calldata evidence,
        string calldata unit,
        IChallenges.LinkRecord[] calldata records
    ) external;

    /// @notice Freezes a dataset by two updates of one run of which the later one has the lower total.
    /// @param records proof of the earlier update's link, the later one's among them
    /// @param laterAt index of the later update's link in the records
    function challengeDecrease(
        Evidence calldata earlier,
        Evidence calldata later,
        string calldata unit,
        IChallenges.LinkRecord[] calldata records,
        uint256 laterAt
    ) external;

    /// @notice Whether the dataset is frozen and its site has not consented anew since.
    function isFrozen(bytes32 dataset) external view returns (bool);

    /// @notice When the dataset was last frozen, 0 for never.
    function frozenAt(bytes32 dataset) external view returns (uint64);

    function challenges() external view returns (IChallenges);
}
