"""Lists of validators: what makes one legal, its hashes, and who must cosign under it."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

from ledger.blocks import VALIDATORS_MAX, hash_validators, quorum_of
from ledger.keys import ED25519 as ALGORITHM_ED25519
from ledger.registry import VALIDATOR_LISTS, Validator
from ledger.tlog.note import COSIGNATURE_ED25519, ED25519, VerifierKey
from ledger.tlog.policy import Policy

VALIDATOR_LIST_DOMAIN = b"tallystick/validator-list/v1\0"
VALIDATORS_MIN = 4
_LISTS_KEPT = 32

_DISTINCT: tuple[tuple[str, Callable[[Validator], object]], ...] = (
    ("member", lambda validator: validator.member),
    ("consensus_key", lambda validator: validator.consensus_key),
    ("cosigning_key", lambda validator: validator.cosigning_key),
    ("tls_certificate", lambda validator: validator.tls_certificate),
)


def hash_validator_list(validators: tuple[Validator, ...]) -> bytes:
    """Hash of a whole list, every key of it: what a seal header and a `ready` carry."""
    return hashlib.sha256(VALIDATOR_LIST_DOMAIN + VALIDATOR_LISTS.encode(validators)).digest()


def hash_consensus_keys(validators: Sequence[Validator]) -> bytes:
    """The `validators_hash` that the headers of these validators' epoch carry."""
    return hash_validators(tuple(validator.consensus_key for validator in validators))


def find_list_faults(validators: Sequence[Validator]) -> Iterator[str]:
    """Every reason why these cannot be the validators of an epoch: count, doubles, algorithms."""
    count = len(validators)
    if not VALIDATORS_MIN <= count <= VALIDATORS_MAX:
        yield f"{count}, from {VALIDATORS_MIN} to {VALIDATORS_MAX} are allowed"
    for name, pick in _DISTINCT:
        if len(frozenset(pick(validator) for validator in validators)) != count:
            yield f"one {name} stands twice"
    for validator in validators:
        for name, key in (
            ("consensus_key", validator.consensus_key),
            ("cosigning_key", validator.cosigning_key),
        ):
            if key[0] != ALGORITHM_ED25519:
                yield f"{name} of {validator.member}: unknown key algorithm {key[0]:#04x}"


def cosigner_keys_of(origin: str, validators: tuple[Validator, ...]) -> tuple[VerifierKey, ...]:
    """The cosigning keys in list order, named `<origin>/<member>`. Raises `InvalidKey`."""
    return _cosigner_keys(origin, validators)


def policy_of_list(origin: str, log_key: bytes, validators: tuple[Validator, ...]) -> Policy:
    """The tlog-policy of checkpoints that these validators cosign; `log_key` has 33 bytes.

    Raises `InvalidEncoding` or `InvalidKey`.
    """
    return _policy(origin, log_key, validators)


# Checking that a key is a point of the curve costs as much as two signatures, and few lists are in
# use at a time. Both functions are pure and their results immutable.
@lru_cache(_LISTS_KEPT)
def _cosigner_keys(origin: str, validators: tuple[Validator, ...]) -> tuple[VerifierKey, ...]:
    return tuple(
        VerifierKey(
            name=f"{origin}/{validator.member}",
            kind=COSIGNATURE_ED25519,
            raw=validator.cosigning_key[1:],
        )
        for validator in validators
    )


@lru_cache(_LISTS_KEPT)
def _policy(origin: str, log_key: bytes, validators: tuple[Validator, ...]) -> Policy:
    log = VerifierKey(name=origin, kind=ED25519, raw=log_key[1:])
    keys = cosigner_keys_of(origin, validators)
    names = [validator.member for validator in validators]
    witnesses = (f"witness {name} {key.format()}" for name, key in zip(names, keys, strict=True))
    lines = [
        f"log {log.format()}",
        *witnesses,
        f"group validators {quorum_of(len(keys))} {' '.join(names)}",
        "quorum validators",
    ]
    return Policy.parse("".join(line + "\n" for line in lines).encode())
