"""What is wrong with the policy of a key, by the parser that the API uses: the engine plans with the answer, and may not import policy.

Called by reconciler/key.py before each plan. Pure. The words are for the condition InvalidSpec: the place in the document, and the fix.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from keystead.engine.identifiers import KeyArn, key_arn
from keystead.engine.managed import is_own
from keystead.engine.plan.key_settings import policy_bytes, without_default
from keystead.engine.record import KeyRecord
from keystead.errors import InvalidSpecError, MalformedPolicyDocumentError
from keystead.policy import compile_policy
from keystead.policy.compiled import Policy, policy_of, recorded_policy
from keystead.policy.lockout import closes
from keystead.policy.somebody import strangers
from keystead.resources import names
from keystead.resources.kms_key import KmsKey
from keystead.resources.rules_key import AWS_PREFIX

_FIELD: Final = "spec.policy"
_TOLD: Final = 3
# A key that is to be made has no id yet: a Resource that covers it is one that covers any key of the account.
_SOME_KEY: Final = "00000000-0000-4000-8000-000000000000"


def fault_at_birth(key: KmsKey, region: str, account: str) -> str:
    """What is wrong with spec.policy of a key that is to be made in this account; "" where nothing is."""
    arn = key_arn(region if key.spec.region is UNSET else key.spec.region, account, _SOME_KEY)
    return _fault(key, arn, account, in_force=UNSET)


def fault_of(key: KmsKey, record: KeyRecord) -> str:
    """What is wrong with spec.policy, or with the recorded one where spec says none; "" where nothing is.

    What is in force already is not asked again whether it closes the key: the check is of who puts a policy.
    """
    if key.spec.policy is not UNSET:
        arn = key_arn(record.region, record.account, record.key_id)
        return _fault(key, arn, record.account, in_force=record.policy)
    if policy_of(record) is None:
        return f"{_FIELD}: the recorded policy cannot be read by this version, so that the key serves nobody: set spec.policy"
    return ""


def remark_on(record: KeyRecord | None, people: str) -> str:
    """Whom the policy in force names in vain: no fault, as it opens nothing; but a statement does less than it seems to, or denies more."""
    policy = None if record is None else policy_of(record)
    if policy is None:
        return ""
    found = strangers(policy.document, people)
    more = f" (and {len(found) - _TOLD} more)" if len(found) > _TOLD else ""
    return f"{_FIELD}: {'; '.join(found[:_TOLD])}{more}" if found else ""


def speaks_of_people(key: KmsKey | None, record: KeyRecord | None) -> bool:
    """Whether `remark_on` needs to know whose people are: of the policy in force, and of one that may be in force after this pass."""
    texts = [] if record is None or record.policy is UNSET else [record.policy]
    if key is not None and key.spec.policy is not UNSET:
        texts.append(msgspec.json.encode(key.spec.policy))
    return any(b":user/" in text or b":group/" in text for text in texts)


def _fault(key: KmsKey, arn: KeyArn, account: str, *, in_force: bytes | UnsetType) -> str:
    assert key.spec.policy is not UNSET
    try:
        data = policy_bytes(key.spec.policy)
        stands = without_default(data, account) == in_force
        policy = recorded_policy(data, arn) if stands else compile_policy(data, arn)
    except InvalidSpecError as error:
        return str(error)
    except MalformedPolicyDocumentError as error:
        return f"{_FIELD}.{error}" if error.place else f"{_FIELD}: {error}"
    if stands or _may_close(key):
        return ""
    return _closing(policy, account)


def _may_close(key: KmsKey) -> bool:
    """Somebody says so; or it is one of Keystead's own keys, whose policies nobody is to replace."""
    asked = key.metadata.annotations.get(names.BYPASS_LOCKOUT_CHECK) == "true"
    return asked or key.metadata.name.startswith(AWS_PREFIX) or is_own(key.metadata.namespace)


def _closing(policy: Policy, account: str) -> str:
    if not closes(policy, account):
        return ""
    return (
        f"{_FIELD}: nobody in this namespace's account {account} could replace this policy: allow kms:PutKeyPolicy to "
        f"arn:aws:iam::{account}:root, or to a role of the account; or set the annotation {names.BYPASS_LOCKOUT_CHECK}=true"
    )
