"""Why a reply was refused. The codes 1 to 26 are the classes of hostile updates, the rest what else can be wrong.

Codes are recorded on the ledger and never change their meaning; docs/format.md lists them.
"""

from __future__ import annotations

import enum


class Reason(enum.IntEnum):
    """Reason codes of recorded rejections."""

    FLOAT32 = 1
    FLOAT64 = 2
    BOOL = 3
    COMPLEX = 4
    NOT_NUMERIC = 5
    NOT_FINITE = 6
    OUT_OF_RANGE = 7
    OTHER_ENCODING = 8
    SHAPE_OF_ONE = 9
    OTHER_SHAPE = 10
    MISSING_TENSOR = 11
    EXTRA_TENSOR = 12
    DUPLICATE_NAME = 13
    NOT_CANONICAL = 14
    ZERO_WEIGHT = 15
    NEGATIVE_WEIGHT = 16
    OTHER_WEIGHT = 17
    NORM_ABOVE_BOUND = 18
    OTHER_BASE_MODEL = 19
    OTHER_ROUND = 20
    OTHER_RUN = 21
    OTHER_LEDGER = 22
    PAST_DEADLINE = 23
    BAD_SIGNATURE = 24
    KEY_NOT_VALID = 25
    DUPLICATE = 26
    MALFORMED = 27
    OTHER_CONFIGURATION = 28
    NO_CONSENT = 29
    PRIVACY_MISSTATED = 30
    PAYLOAD_MISMATCH = 31
    GRANT_EXCEEDED = 32
    ROUND_ABORTED = 33
    CANNOT_BE_OPENED = 34
    NOT_ENCRYPTED = 35
    OTHER_CONTROL = 36
    OTHER_CLIENTS = 37

    @property
    def words(self) -> str:
        """The reason in plain words."""
        return _WORDS[self]


_WORDS = {
    Reason.FLOAT32: "tensor of float32 where int32 fixed point is declared",
    Reason.FLOAT64: "tensor of float64 where int32 fixed point is declared",
    Reason.BOOL: "tensor of booleans",
    Reason.COMPLEX: "tensor of complex numbers",
    Reason.NOT_NUMERIC: "tensor of a type that is no number",
    Reason.NOT_FINITE: "float tensor with NaN or infinity",
    Reason.OUT_OF_RANGE: "value outside the declared range",
    Reason.OTHER_ENCODING: "other integer width or fraction bits than declared",
    Reason.SHAPE_OF_ONE: "tensor of shape (1,) that would broadcast",
    Reason.OTHER_SHAPE: "tensor of another shape than the model's",
    Reason.MISSING_TENSOR: "a tensor of the model is missing",
    Reason.EXTRA_TENSOR: "a tensor that the model does not have",
    Reason.DUPLICATE_NAME: "a tensor name stands twice",
    Reason.NOT_CANONICAL: "bytes are not in canonical form",
    Reason.ZERO_WEIGHT: "weight 0",
    Reason.NEGATIVE_WEIGHT: "negative weight",
    Reason.OTHER_WEIGHT: "weight other than the dataset's registered size",
    Reason.NORM_ABOVE_BOUND: "norm of the update above the declared bound",
    Reason.OTHER_BASE_MODEL: "trained from another base model",
    Reason.OTHER_ROUND: "for another or a past round",
    Reason.OTHER_RUN: "for another federation or run",
    Reason.OTHER_LEDGER: "signed for another chain or contract",
    Reason.PAST_DEADLINE: "past its deadline",
    Reason.BAD_SIGNATURE: "bad, malleable or foreign signature",
    Reason.KEY_NOT_VALID: "key not valid at the deadline",
    Reason.DUPLICATE: "duplicate or replayed update",
    Reason.MALFORMED: "statement is not a canonical document",
    Reason.OTHER_CONFIGURATION: "made with other code, configuration or environment",
    Reason.NO_CONSENT: "dataset without valid consent of its site",
    Reason.PRIVACY_MISSTATED: "privacy parameters differ from the signed ones or from the run's",
    Reason.PAYLOAD_MISMATCH: "payload does not match its signed identifier or commitment",
    Reason.GRANT_EXCEEDED: "privacy spent would pass the site's grant",
    Reason.ROUND_ABORTED: "the round was aborted",
    Reason.CANNOT_BE_OPENED: "payload that the keys beside it do not open",
    Reason.NOT_ENCRYPTED: "payload in plain where the run asks for encryption",
    Reason.OTHER_CONTROL: "trained with another control of the server",
    Reason.OTHER_CLIENTS: "clients of a population that the round does not draw, or that its roster does not have",
}
