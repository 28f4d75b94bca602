// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleProof} from "@openzeppelin/contracts/utils/cryptography/MerkleProof.sol";
import {Links} from "./Links.sol";
import {Statements} from "./Statements.sol";
import {IChallenges} from "./interfaces/IChallenges.sol";
import {IFedRegistry} from "./interfaces/IFedRegistry.sol";
import {IRoundLedger} from "./interfaces/IRoundLedger.sol";

/// @title The challenges of one federation; IChallenges documents it
contract Challenges is IChallenges {
    bytes32 private constant ROUND_RECEIPT =
        keccak256("RoundReceipt(bytes32 federation,bytes32 run,uint64 round,bytes32 roundHash)");
    bytes32 private constant INCLUSION_PROMISE =
        keccak256("InclusionPromise(bytes32 federation,bytes32 run,uint64 round,bytes32 leaf,uint64 sealBy)");
    uint16 private constant KEY_NOT_VALID = 25;
    uint16 private constant DUPLICATE = 26;
    uint16 private constant NO_CONSENT = 29;
    uint16 private constant ROUND_ABORTED = 33;
    bytes private constant BEFORE_SIGNATURE = '"signature":"0x';
    uint256 private constant SIGNATURE_SIZE = 65;

    struct Challenge {
        PromiseState state;
        uint64 answerBy;
    }

    IRoundLedger public immutable rounds;
    uint64 public immutable window;
    IFedRegistry private immutable _registry;
    bytes32 private immutable _federation;

    mapping(bytes32 run => mapping(uint64 round => bytes32 roundHash)) public anchorOf;
    mapping(address signer => uint64) public equivocatedAt;
    mapping(bytes32 id => Challenge) public promiseOf;

    constructor(IRoundLedger rounds_, uint64 window_) {
        uint64 least = rounds_.MAX_PAUSE() + 1;
        if (window_ < least) revert WindowTooShort(least, window_);
        rounds = rounds_;
        window = window_;
        _registry = IFedRegistry(rounds_.registry());
        _federation = rounds_.federation();
    }

    /// @inheritdoc IChallenges
    function anchor(LinkRecord[] calldata records) external {
        bytes32 hash = _proven(records);
        (bytes32 run, uint64 round) = (records[0].link.run, records[0].link.round);

        anchorOf[run][round] = hash;

        emit Anchored(run, round, hash);
    }

    /// @inheritdoc IChallenges
    function cosign(
        RoundReceipt calldata receipt,
        address signer,
        bytes calldata signature,
        LinkRecord[] calldata records
    ) external {
        if (!_isValidNow(signer)) revert UnknownSigner(signer);
        if (records.length == 0) _requireOnLedger(receipt.run, receipt.round, receipt.roundHash);
        else if (_proven(records) != receipt.roundHash) revert OtherLink(receipt.run, receipt.round);
        else _requireAbout(records[0].link, receipt.run, receipt.round);
        Statements.check(signer, _receiptDigest(receipt), signature);

        emit CoSigned(receipt.run, receipt.round, signer, receipt.roundHash, signature);
    }

    /// @inheritdoc IChallenges
    function proveEquivocation(
        address signer,
        RoundReceipt calldata one,
        bytes calldata oneSignature,
        RoundReceipt calldata other,
        bytes calldata otherSignature
    ) external {
        bool sameRound = one.run == other.run && one.round == other.round;
        if (!sameRound || one.roundHash == other.roundHash) revert NoEquivocation();
        if (!rounds.wasAggregator(signer) && _registry.deviceOf(signer).organisation == 0) revert UnknownSigner(signer);
        Statements.check(signer, _receiptDigest(one), oneSignature);
        Statements.check(signer, _receiptDigest(other), otherSignature);

        if (equivocatedAt[signer] == 0) equivocatedAt[signer] = uint64(block.timestamp);

        emit Equivocated(signer, one.run, one.round, one.roundHash, other.roundHash);
    }

    /// @inheritdoc IChallenges
    function challengeOmission(InclusionPromise calldata promised, address signer, bytes calldata signature) external {
        bytes32 id = _promiseDigest(promised);
        PromiseState state = promiseOf[id].state;
        if (state != PromiseState.Unchallenged) revert WrongState(PromiseState.Unchallenged, state);
        if (block.timestamp <= promised.sealBy) revert NotDue(promised.sealBy);
        if (!rounds.wasAggregator(signer)) revert UnknownSigner(signer);
        Statements.check(signer, id, signature);

        uint64 answerBy = _afterPause() + window;
        promiseOf[id] = Challenge(PromiseState.Challenged, answerBy);

        emit OmissionChallenged(id, signer, promised, answerBy, signature);
    }

    /// @inheritdoc IChallenges
    function answerIncluded(
        InclusionPromise calldata promised,
        LinkRecord[] calldata records,
        bytes32[] calldata proof
    ) external {
        bytes32 id = _requireOpen(promised);
        _proven(records);
        IRoundLedger.Link calldata link = records[0].link;
        _requireAbout(link, promised.run, promised.round);
        _requireLeaf(link.updatesRoot, promised.leaf, proof);

        _answer(id, PromiseState.Kept, link.round);
    }

    /// @inheritdoc IChallenges
    function answerRejected(
        InclusionPromise calldata promised,
        Rejection calldata rejection,
        LinkRecord[] calldata records,
        bytes32[] calldata proof
    ) external {
        bytes32 id = _requireOpen(promised);
        if (_updateLeaf(rejection.update) != promised.leaf) revert OtherReply();
        // The second of two equal replies is rejected because the first one counts: that is no word about the first.
        if (rejection.rejected.reason == DUPLICATE) revert OtherReply();
        _proven(records);
        IRoundLedger.Link calldata link = records[0].link;
        if (link.run != promised.run || link.round < promised.round) revert OtherLink(promised.run, promised.round);
        _requireLeaf(link.rejectedRoot, _rejectedLeaf(rejection.rejected), proof);
        bool isShown = rejection.reply.length > 0;
        if (isShown) _requireReply(rejection);
        else _requireExcuse(rejection, promised, link);

        _answer(id, isShown ? PromiseState.Rejected : PromiseState.Excused, link.round);
    }

    /// @inheritdoc IChallenges
    function concludeOmission(InclusionPromise calldata promised) external {
        bytes32 id = _promiseDigest(promised);
        Challenge memory challenge = promiseOf[id];
        if (challenge.state != PromiseState.Challenged) revert WrongState(PromiseState.Challenged, challenge.state);
        if (block.timestamp < challenge.answerBy) revert WindowOpen(challenge.answerBy);

        promiseOf[id].state = PromiseState.Broken;

        emit OmissionProven(id, promised.run, promised.round, promised.leaf);
    }

    /// @inheritdoc IChallenges
    function proven(LinkRecord[] calldata records) external view returns (bytes32 roundHash) {
        return _proven(records);
    }

    function _answer(bytes32 id, PromiseState state, uint64 round) private {
        promiseOf[id].state = state;

        emit OmissionAnswered(id, state, round);
    }

    /// @dev The ledger made sure of runs and round numbers when it sealed; equal hashes are equal links.
    function _proven(LinkRecord[] calldata records) private view returns (bytes32 first) {
        if (records.length == 0) revert NoRecords();
        bytes32 hash;
        for (uint256 i = 0; i < records.length; ++i) {
            if (i > 0 && records[i].link.previousHash != hash) revert BrokenChain(i);
            hash = Links.roundHash(records[i].link, address(rounds), _federation, records[i].registryHead);
            if (i == 0) first = hash;
        }
        IRoundLedger.Link calldata last = records[records.length - 1].link;
        _requireOnLedger(last.run, last.round, hash);
    }

    function _requireOnLedger(bytes32 run, uint64 round, bytes32 hash) private view {
        bytes32 head = rounds.headOf(run);
        bool isHead = head == Links.slot(round, hash, false) || head == Links.slot(round, hash, true);
        if (!isHead && (hash == 0 || anchorOf[run][round] != hash)) revert NotOnLedger(run, round, hash);
    }

    function _requireAbout(IRoundLedger.Link calldata link, bytes32 run, uint64 round) private pure {
        if (link.run != run || link.round != round) revert OtherLink(run, round);
    }

    function _requireOpen(InclusionPromise calldata promised) private view returns (bytes32 id) {
        id = _promiseDigest(promised);
        Challenge memory challenge = promiseOf[id];
        if (challenge.state != PromiseState.Challenged) revert WrongState(PromiseState.Challenged, challenge.state);
        if (block.timestamp >= challenge.answerBy) revert WindowOver(challenge.answerBy);
    }

    function _requireLeaf(bytes32 root, bytes32 leaf, bytes32[] calldata proof) private pure {
        if (root == 0 || !MerkleProof.verifyCalldata(proof, root, leaf)) revert WrongProof();
    }

    /// @dev The evidence is the sha2-256 of the reply (one raw block), and its header holds the promised signature.
    function _requireReply(Rejection calldata rejection) private pure {
        bytes calldata reply = rejection.reply;
        if (sha256(reply) != rejection.rejected.evidence || reply.length < 4) revert OtherReply();
        uint256 headerEnd = 4 + uint256(uint32(bytes4(reply[:4])));
        uint256 start = rejection.signatureAt;
        if (start < 4 || start > reply.length) revert OtherReply();
        uint256 hexStart = start + BEFORE_SIGNATURE.length;
        uint256 hexEnd = hexStart + 2 * SIGNATURE_SIZE;
        if (hexEnd > headerEnd || hexEnd > reply.length) revert OtherReply();
        if (keccak256(reply[start:hexStart]) != keccak256(BEFORE_SIGNATURE)) revert OtherReply();
        if (keccak256(_fromHex(reply[hexStart:hexEnd])) != rejection.update.signatureDigest) revert OtherReply();
    }

    function _requireExcuse(
        Rejection calldata rejection,
        InclusionPromise calldata promised,
        IRoundLedger.Link calldata link
    ) private pure {
        RejectedLeaf calldata rejected = rejection.rejected;
        bool isHis = rejected.signer == rejection.update.signer && rejected.round == promised.round;
        bool isShown = rejected.reason == KEY_NOT_VALID || rejected.reason == NO_CONSENT
            || (rejected.reason == ROUND_ABORTED && link.kind == Links.ABORTED);
        if (!isHis || !isShown || link.round != promised.round) revert OtherReply();
    }

    function _isValidNow(address signer) private view returns (bool) {
        IFedRegistry.Device memory device = _registry.deviceOf(signer);
        bool isRevoked = device.revokedAt != 0 && block.timestamp >= device.revokedAt;
        return !isRevoked && block.timestamp >= device.validFrom && block.timestamp < device.validUntil;
    }

    function _afterPause() private view returns (uint64) {
        uint64 pausedUntil = rounds.lead().pausedUntil;
        return pausedUntil > block.timestamp ? pausedUntil : uint64(block.timestamp);
    }

    function _receiptDigest(RoundReceipt calldata receipt) private view returns (bytes32) {
        if (receipt.federation != _federation) revert ForeignFederation(_federation, receipt.federation);
        return Statements.digest(address(rounds), keccak256(abi.encode(ROUND_RECEIPT, receipt)));
    }

    function _promiseDigest(InclusionPromise calldata promised) private view returns (bytes32) {
        if (promised.federation != _federation) revert ForeignFederation(_federation, promised.federation);
        return Statements.digest(address(rounds), keccak256(abi.encode(INCLUSION_PROMISE, promised)));
    }

    function _updateLeaf(UpdateLeaf calldata leaf) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(uint8(1), leaf))));
    }

    function _rejectedLeaf(RejectedLeaf calldata leaf) private pure returns (bytes32) {
        return keccak256(bytes.concat(keccak256(abi.encode(uint8(2), leaf))));
    }

    function _fromHex(bytes calldata text) private pure returns (bytes memory data) {
        data = new bytes(text.length / 2);
        for (uint256 i = 0; i < data.length; ++i) {
            data[i] = bytes1(_nibble(text[2 * i]) * 16 + _nibble(text[2 * i + 1]));
        }
    }

    function _nibble(bytes1 character) private pure returns (uint8) {
        if (character >= "0" && character <= "9") return uint8(character) - uint8(bytes1("0"));
        if (character >= "a" && character <= "f") return uint8(character) - uint8(bytes1("a")) + 10;
        revert OtherReply();
    }
}
