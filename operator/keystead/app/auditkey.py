"""Signs for the audit trail with KmsKey keystead-records/audit-signing. Called by whoever keeps it (audit/, through its port Signer).

The key is in no index that a request can ask (store/model.py); this reads it by name. It signs as the service principal that the key's
policy names. Whether the KmsKey object is there does not matter: the record is the key, and a trail must not end because somebody deleted
an object. What may never enter: anything but a digest of 32 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from msgspec import UNSET

from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.identifiers import RECORDS_NAMESPACE, KeyArn, key_arn
from keystead.engine.managed import AUDIT_KEY, AUDIT_SERVICE
from keystead.engine.material import material_of
from keystead.engine.plan.key_life import shown_state
from keystead.engine.ports import SignDigest, SlowCall, SlowResult
from keystead.engine.record import KeyRecord
from keystead.policy import Action, Decision, Question, evaluate
from keystead.policy.caller import service_caller
from keystead.resources.vocabulary import KeySpec, KeyState, KeyUsage

ALGORITHM: Final = SigningAlgorithm.ECDSA_SHA_256
_DIGEST: Final = 32


class OwnKeyModel(Protocol):
    """The read model (store/model.py)."""

    def own_key(self, name: str) -> KeyRecord | None: ...


class Engine(Protocol):
    """The open token."""

    async def slow(self, call: SlowCall) -> SlowResult: ...


@dataclass(frozen=True, slots=True)
class Signed:
    """A signature, ECDSA in DER, and the key and public key (DER SPKI) that it is verified with."""

    signature: bytes
    key_arn: KeyArn
    material_id: str
    spki: bytes


class AuditSigner:
    """One a process. `engine()` answers the open token, or raises HsmAuthError or HsmUnavailableError."""

    def __init__(self, model: OwnKeyModel, engine: Callable[[], Engine], now: Callable[[], datetime]) -> None:
        self._model = model
        self._engine = engine
        self._now = now

    @property
    def missing(self) -> str | None:
        """Why nothing can be signed now; None: it can."""
        record, name = self._model.own_key(AUDIT_KEY), f"KmsKey {RECORDS_NAMESPACE}/{AUDIT_KEY}"
        if record is None:
            return f"{name} has no record yet: the operator makes it"
        if (record.spec, record.usage) != (KeySpec.ECC_NIST_P256, KeyUsage.SIGN_VERIFY):
            return f"{name} is a {record.spec} key for {record.usage}: the audit trail is not signed with such a one"
        if shown_state(record) is not KeyState.ENABLED or record.hold is not UNSET:
            return f"{name} is {'held' if record.hold is not UNSET else record.state}"
        caller = service_caller(record.account, record.namespace, AUDIT_SERVICE)
        answer = evaluate(Question(caller, Action.SIGN, record, (), {}, self._now()))
        if not isinstance(answer, Decision) or answer.allowed is not True:
            return f"the policy of {name} does not let {AUDIT_SERVICE} sign"
        return None

    async def sign(self, digest: bytes) -> Signed | None:
        """A digest of SHA-256 signed with the current version; None where `missing` says why not. HsmError: the token did not."""
        if len(digest) != _DIGEST:
            raise ValueError("the audit trail signs digests of SHA-256")
        record = self._model.own_key(AUDIT_KEY)
        if record is None or self.missing is not None:
            return None
        material = material_of(record, record.current_version)
        assert material.spki is not None
        signature = await self._engine().slow(SignDigest(material, ALGORITHM, digest))
        assert isinstance(signature, bytes)
        return Signed(signature, key_arn(record.region, record.account, record.key_id), record.current_version.material_id, material.spki)
