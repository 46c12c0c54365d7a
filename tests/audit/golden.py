"""The audit format of version 1, as a file that is never made again: tests/golden/audit-1.

`python -m tests.audit.golden FOLDER` writes what today's code writes, to compare. One line of each type, and records of the usual kinds.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from tests.audit.events import HEADERS, HSM, ROOT, a_call, a_request, a_service_event, judged
from tests.builders import another_tenants_key

from keystead.audit import cloudtrail
from keystead.audit.lines import Chain, bare, file_name
from keystead.audit.shape import JUSTIFICATION
from keystead.operations.trail import CallEvent
from keystead.policy import Action

CHAIN = "keystead-server-7d9f-1-20261126T080000Z-0123abcd"
FOLDER = Path(__file__).resolve().parents[1] / "golden" / "audit-1"
_TIME = "2026-11-26T08:00:00Z"
_ABROAD = another_tenants_key(HSM)
_DENIED = {"code": "AccessDeniedException", "message": "User: x is not authorized to perform: kms:Encrypt"}


def _calls() -> list[CallEvent]:
    both = (judged(action=Action.RE_ENCRYPT_FROM), judged(_ABROAD, Action.RE_ENCRYPT_TO))
    refused = (judged(allowed=False, reason="statement NoGuests denies it", explicit=True),)
    return [
        a_call("Encrypt", headers={**HEADERS, JUSTIFICATION: b"INC-4711"}),
        a_call("Decrypt", request=a_request("Decrypt", key_id=None), trail=(judged(action=Action.DECRYPT),)),
        a_call("Encrypt", trail=refused, **_DENIED),
        a_call("Encrypt", trail=(judged(_ABROAD, allowed=False),), **_DENIED),
        a_call("ReEncrypt", trail=both),
        a_call("CreateKey", actor=ROOT, trail=(judged(None, Action.CREATE_KEY),), tls=None),
        a_call("CreateGrant", actor=ROOT, trail=(judged(action=Action.CREATE_GRANT),)),
        a_call("UpdateAlias", request=a_request("UpdateAlias", alias_name="alias/orders"), trail=(judged(action=Action.UPDATE_ALIAS),)),
    ]


def golden() -> bytes:
    """The lines of one chain."""
    signature = base64.b64encode(b"a signature").decode()
    signed = {"keyArn": "arn:aws:kms:cluster-1:999999999999:key/k", "keyMaterialId": "ab" * 32, "algorithm": "ECDSA_SHA_256"}
    signed["signature"] = signature
    previous = {"id": "keystead-server-5c4b-1-20261125T080000Z-89abcdef", "lastSeq": 41, "lastHash": "cd" * 32, "ended": False}
    removed = {"name": file_name(previous["id"], 0), "firstSeq": 0, "lastSeq": 20, "lastHash": "ef" * 32}
    records = [
        bare("start", {"time": _TIME, "version": "0.1.0", "replica": "keystead-server-7d9f-1", "previous": [previous]}),
        *(record for event in _calls() for record in cloudtrail.call(event)),
        cloudtrail.service(a_service_event()),
        bare("checkpoint", {"time": _TIME, **signed}),
        bare("removed", {"time": _TIME, **removed}),
        bare("gap", {"time": _TIME, "reason": "file: No space left on device", "lost": 0, "from": _TIME, "to": _TIME}),
        bare("end", {"time": _TIME, **signed}),
    ]
    chain = Chain(CHAIN)
    return b"".join(map(chain.link, records))


if __name__ == "__main__":
    (Path(sys.argv[1]) / file_name(CHAIN, 0)).write_bytes(golden())
