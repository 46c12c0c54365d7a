"""Keystead's own keys: the AWS managed key of a namespace (`alias/aws/keystead`) and the key that signs the audit trail. Pure.

Asked by the plan of a data key, by the leader (reconciler/own.py), by the operations and by the read model. Both keys are ordinary KmsKeys
that the operator makes, create-only; their policies stand in spec, where everybody with a right to read the object sees them.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import UNSET

from keystead.engine.identifiers import RECORDS_NAMESPACE, root_arn
from keystead.engine.plan.key_settings import DEFAULT_PERIOD, policy_bytes
from keystead.engine.record.key import KeyRecord
from keystead.resources import names
from keystead.resources.rules_key import AWS_PREFIX, MANAGED_NAME
from keystead.resources.vocabulary import DeletionPolicy, KeySpec, KeyUsage

MANAGED_PREFIX: Final = AWS_PREFIX
MANAGED_KEY: Final = MANAGED_NAME
MANAGED_ALIAS: Final = "alias/aws/keystead"
"""Leads to KmsKey aws-keystead by rule: there is neither a KmsAlias nor an alias record (RECORDS)."""
DATA_KEYS_SERVICE: Final = "datakeys.kms.keystead.io"
AUDIT_SERVICE: Final = "audit.kms.keystead.io"
AUDIT_KEY: Final = "audit-signing"
_LABELS: Final = {"app.kubernetes.io/managed-by": "keystead"}
_USES: Final = ("kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey")
_READS: Final = ("kms:Describe*", "kms:Get*", "kms:List*")


def is_managed(record: KeyRecord) -> bool:
    """Whether it is an AWS managed key."""
    return record.name.startswith(MANAGED_PREFIX)


def is_own(namespace: str) -> bool:
    """Whether what lies in this namespace is Keystead's own: no caller of the API ever learns of it."""
    return namespace == RECORDS_NAMESPACE


def managed_policy(account: str) -> dict[str, object]:
    """As AWS writes that of an AWS managed key: everybody in the account, but through the one service; nobody changes anything."""
    use = {
        "Sid": "Allow access through KmsDataKeys for all principals in the account that are authorized to use them",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": list(_USES),
        "Resource": "*",
        "Condition": {"StringEquals": {"kms:CallerAccount": account, "kms:ViaService": DATA_KEYS_SERVICE}},
    }
    return {"Version": "2012-10-17", "Id": "auto-keystead-1", "Statement": [use, _reading(account)]}


def serves_data_keys(record: KeyRecord) -> bool:
    """Whether the key under the reserved name is the one that Keystead made: its sealed policy is the one that keeps people out."""
    return record.policy is not UNSET and record.policy == policy_bytes(managed_policy(record.account))


def managed_key(namespace: str, account: str) -> dict[str, Any]:
    """KmsKey aws-keystead of a namespace."""
    spec = {
        "description": "AWS managed key of KmsDataKeys without keyRef and aliasRef",
        "keySpec": KeySpec.SYMMETRIC_DEFAULT.value,
        "rotation": {"enabled": True, "periodInDays": DEFAULT_PERIOD},
        "policy": managed_policy(account),
    }
    return _manifest(namespace, MANAGED_KEY, spec)


def audit_policy(account: str) -> dict[str, object]:
    """The audit trail signs with it and nobody else. Its account reads what it is."""
    use = {
        "Sid": "Allow the audit trail to sign",
        "Effect": "Allow",
        "Principal": {"Service": AUDIT_SERVICE},
        "Action": ["kms:Sign"],
        "Resource": "*",
    }
    return {"Version": "2012-10-17", "Id": "keystead-audit-1", "Statement": [use, _reading(account)]}


def audit_key(account: str) -> dict[str, Any]:
    """KmsKey audit-signing. `account`: the install's own."""
    spec = {
        "description": "Signs the audit trail of this install",
        "keySpec": KeySpec.ECC_NIST_P256.value,
        "keyUsage": KeyUsage.SIGN_VERIFY.value,
        "policy": audit_policy(account),
    }
    return _manifest(RECORDS_NAMESPACE, AUDIT_KEY, spec)


def _reading(account: str) -> dict[str, object]:
    return {
        "Sid": "Allow direct access to key metadata to the account",
        "Effect": "Allow",
        "Principal": {"AWS": root_arn(account)},
        "Action": list(_READS),
        "Resource": "*",
    }


def _manifest(namespace: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "KmsKey",
        "metadata": {"namespace": namespace, "name": name, "labels": dict(_LABELS)},
        "spec": {**spec, "deletionPolicy": DeletionPolicy.RETAIN.value},
    }
