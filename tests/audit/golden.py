"""The audit format of version 1, as files that are never made again: tests/golden/audit-1, audit-2.

`python -m tests.audit.golden FOLDER` writes what today's code writes, to compare. audit-1 has one line of each type, and records of the
usual kinds; audit-2 has what the controller did and was refused, at home and abroad, and who read the trail.
"""

from __future__ import annotations

import base64
import sys
from pathlib import Path

from tests.audit.events import APP, HEADERS, HSM, ROOT, a_call, a_request, a_service_event, judged
from tests.builders import another_tenants_key

from keystead.audit import cloudtrail
from keystead.audit.lines import Chain, bare, file_name
from keystead.audit.shape import JUSTIFICATION
from keystead.operations.trail import Actor, CallEvent, ServiceEvent
from keystead.policy import Action, root_caller

CHAIN = "keystead-server-7d9f-1-20261126T080000Z-0123abcd"
FOLDER = Path(__file__).resolve().parents[1] / "golden" / "audit-1"
FOLDER_2 = FOLDER.with_name("audit-2")
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


def _deeds() -> list[ServiceEvent]:
    at_home, abroad = judged(action=Action.GENERATE_DATA_KEY), judged(_ABROAD, Action.GENERATE_DATA_KEY)
    refused = judged(_ABROAD, Action.GENERATE_DATA_KEY, allowed=False)
    assert _ABROAD is not None
    theirs = {
        "service": "datakeys.kms.keystead.io",
        "name": "IssueDataKey",
        "key_arn": f"arn:aws:kms:{_ABROAD.region}:{_ABROAD.account}:key/{_ABROAD.key_id}",
        "shared_id": "0a4c2d3e-0000-4000-a000-0000000000f1",
    }
    details = {"name": "sessions", "secretName": "sessions", "version": "1", "keyMaterialId": "ab" * 32}
    mine = a_service_event()
    asked = Actor(root_caller(mine.account, mine.namespace))
    owner = {**theirs, "account": _ABROAD.account, "namespace": _ABROAD.namespace}
    owner |= {"event_id": "0a4c2d3e-0000-4000-a000-0000000000e3", "details": {}}
    no = {"name": "IssueDataKey", "service": theirs["service"], "key_arn": "", "details": {"name": "sessions"}}
    return [
        a_service_event(name="IssueDataKey", service=theirs["service"], trail=(at_home,), details=details),
        a_service_event(**theirs, trail=(abroad,), details=details),
        a_service_event(**owner, actor=asked, trail=(abroad,)),
        a_service_event(**no, trail=(refused,), code=_DENIED["code"], message=_DENIED["message"]),
        a_service_event(name="ReadAuditRecords", service="audit.kms.keystead.io", actor=APP, details={"records": "3"}),
        a_service_event(name="DeleteKey", details={"name": "orders", "phase": "begins"}),
    ]


def golden_2() -> bytes:
    """The lines of one chain."""
    chain = Chain(CHAIN)
    start = bare("start", {"time": _TIME, "version": "0.1.0", "replica": "keystead-server-7d9f-1", "previous": []})
    retired = a_call("RetireGrant", actor=ROOT, trail=(judged(action=Action.RETIRE_GRANT),))
    records = [start, *cloudtrail.call(retired), *map(cloudtrail.service, _deeds())]
    return b"".join(map(chain.link, records))


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
    for each, lines in ((FOLDER, golden()), (FOLDER_2, golden_2())):
        made = Path(sys.argv[1]) / each.name
        made.mkdir(parents=True)
        (made / file_name(CHAIN, 0)).write_bytes(lines)
