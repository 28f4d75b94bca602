// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Statements} from "./Statements.sol";
import {IChallenges} from "./interfaces/IChallenges.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {IPrivacyLedger} from "./interfaces/IPrivacyLedger.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title The privacy ledger of one federation; IPrivacyLedger documents it
contract PrivacyLedger is IPrivacyLedger {
    bytes32 private constant CLIENT_UPDATE = keccak256(
        "ClientUpdate(bytes32 federation,bytes32 run,uint64 round,bytes32 baseModel,bytes32 updateCommit,bytes32 payloadCid,bytes32 dataset,bytes32 policy,uint32 weight,uint64 microEpsilonTotal,bytes32 dpParams,bytes32 codeDigest,bytes32 configDigest,bytes32 envDigest,uint64 nonce,uint64 deadline)"
    );
    uint64 private constant UNBOUNDED = type(uint64).max;
    bytes private constant LIFETIME = "/lifetime";
    string private constant UNIT_TAG = "fedchain/privacy-unit/1\x00";
    string private constant DP_PARAMS_TAG = "fedchain/dp-params/1\x00";

    IChallenges public immutable challenges;
    address private immutable _rounds;
    IFedRegistry private immutable _registry;
    bytes32 private immutable _federation;

    mapping(bytes32 dataset => uint64) public frozenAt;

    constructor(IChallenges challenges_) {
        IRoundLedger rounds = challenges_.rounds();
        challenges = challenges_;
        _rounds = address(rounds);
        _registry = IFedRegistry(rounds.registry());
        _federation = rounds.federation();
    }

    /// @inheritdoc IPrivacyLedger
    function challengeOverspend(
        Evidence calldata evidence,
        string calldata unit,
        IChallenges.LinkRecord[] calldata records
    ) external {
        ClientUpdate calldata update = evidence.update;
        _requireThawed(update.dataset);
        challenges.proven(records);
        IFedRegistry.Consent memory consent = _registry.consentOf(update.dataset);
        bytes calldata protected = _protected(unit, consent);
        _requirePunishable(evidence, records[0].link, consent, protected);
        (uint64 total, uint64 grant) = (update.microEpsilonTotal, consent.microEpsilonGrant);
        if (total == UNBOUNDED || total <= grant) revert NothingWrong(total, grant);

        _freeze(update, grant);
    }

    /// @inheritdoc IPrivacyLedger
    function challengeDecrease(
        Evidence calldata earlier,
        Evidence calldata later,
        string calldata unit,
        IChallenges.LinkRecord[] calldata records,
        uint256 laterAt
    ) external {
        ClientUpdate calldata update = later.update;
        _requireThawed(update.dataset);
        if (earlier.update.dataset != update.dataset || laterAt == 0) revert OtherLink(update.run, update.round);
        challenges.proven(records);
        IFedRegistry.Consent memory consent = _registry.consentOf(update.dataset);
        bytes calldata protected = _protected(unit, consent);
        _requirePunishable(earlier, records[0].link, consent, protected);
        _requirePunishable(later, records[laterAt].link, consent, protected);
        (uint64 total, uint64 before) = (update.microEpsilonTotal, earlier.update.microEpsilonTotal);
        if (before == UNBOUNDED || total >= before) revert NothingWrong(total, before);

        _freeze(update, before);
    }

    /// @inheritdoc IPrivacyLedger
    function isFrozen(bytes32 dataset) public view returns (bool) {
        uint64 since = frozenAt[dataset];
        return since != 0 && _registry.consentOf(dataset).grantedAt <= since;
    }

    function _freeze(ClientUpdate calldata update, uint64 limit) private {
        frozenAt[update.dataset] = uint64(block.timestamp);

        emit DatasetFrozen(update.dataset, update.run, update.round, update.microEpsilonTotal, limit);
    }

    function _requireThawed(bytes32 dataset) private view {
        if (isFrozen(dataset)) revert AlreadyFrozen(dataset, frozenAt[dataset]);
    }

    /// @dev What the grant protects ("example"), if the text is the preimage of its unit and says that it is for life.
    function _protected(string calldata unit, IFedRegistry.Consent memory consent)
        private
        pure
        returns (bytes calldata protected)
    {
        bytes calldata text = bytes(unit);
        bool isGrants = sha256(abi.encodePacked(UNIT_TAG, text)) == consent.unit;
        if (!isGrants || text.length <= LIFETIME.length) revert NotLifetime(unit);
        uint256 end = text.length - LIFETIME.length;
        if (keccak256(text[end:]) != keccak256(LIFETIME)) revert NotLifetime(unit);
        return text[:end];
    }

    function _requirePunishable(
        Evidence calldata evidence,
        IRoundLedger.Link calldata link,
        IFedRegistry.Consent memory consent,
        bytes calldata protected
    ) private view {
        _requireIncluded(evidence, link);
        _requireOwn(evidence);
        ClientUpdate calldata update = evidence.update;
        bool isUnderConsent = update.policy == consent.policy && update.deadline > consent.grantedAt;
        if (consent.grantedAt == 0 || !isUnderConsent) revert OtherConsent(update.dataset);
        _requirePrivacy(evidence, consent.deltaE12, protected);
    }

    /// @dev The aggregator wrote the leaf; that the client signed what it says is checked here.
    function _requireIncluded(Evidence calldata evidence, IRoundLedger.Link calldata link) private view {
        ClientUpdate calldata update = evidence.update;
        bool isHere = update.federation == _federation && update.run == link.run && update.round == link.round;
        if (!isHere) revert OtherLink(link.run, link.round);
        bytes32 digest = Statements.digest(_rounds, keccak256(abi.encode(CLIENT_UPDATE, update)));
        bytes memory words = abi.encode(
            uint8(1), evidence.signer, digest, keccak256(evidence.signature), evidence.payloadCodec
        );
        bytes32 leaf = keccak256(bytes.concat(keccak256(words)));
        if (link.updatesRoot == 0 || !MerkleProof.verifyCalldata(evidence.proof, link.updatesRoot, leaf)) {
            revert WrongProof();
        }
        Statements.check(evidence.signer, digest, evidence.signature);
    }

    /// @dev Nobody but the dataset's own organisation speaks of its privacy, or a stranger could have it frozen.
    function _requireOwn(Evidence calldata evidence) private view {
        IFedRegistry.Device memory device = _registry.deviceOf(evidence.signer);
        bytes32 owner = _registry.datasetOf(evidence.update.dataset).organisation;
        uint64 deadline = evidence.update.deadline;
        bool isRevoked = device.revokedAt != 0 && deadline >= device.revokedAt;
        bool isValid = deadline >= device.validFrom && deadline < device.validUntil && !isRevoked;
        if (owner == 0 || device.organisation != owner || !isValid) revert ForeignDevice(evidence.signer);
    }

    /// @dev Documents are canonical, so that a key of this form stands in no text: there its quotes were escaped.
    function _requirePrivacy(Evidence calldata evidence, uint64 deltaE12, bytes calldata protected) private pure {
        bytes calldata document = evidence.dpParams;
        if (sha256(abi.encodePacked(DP_PARAMS_TAG, document)) != evidence.update.dpParams) revert OtherPrivacy();
        _requireAt(document, evidence.deltaAt, abi.encodePacked('"delta_e12":', Strings.toString(deltaE12), ","));
        _requireAt(document, evidence.unitAt, abi.encodePacked('"unit":"', protected, '"'));
    }

    function _requireAt(bytes calldata document, uint256 start, bytes memory expected) private pure {
        bool fits = expected.length <= document.length && start <= document.length - expected.length;
        if (!fits || keccak256(document[start:start + expected.length]) != keccak256(expected)) revert OtherPrivacy();
    }
}
