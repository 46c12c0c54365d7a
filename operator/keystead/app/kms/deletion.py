"""`kubectl kms schedule-deletion`: one fenced write of spec.scheduledDeletion, of the very key whose impact was shown.

The rights are the person's own: the admission policies ask for schedulekeydeletion. The write is that of `keystead records`
(app/keyrequests.py).
"""

from __future__ import annotations

from keystead.app.keyrequests import Subject
from keystead.app.keyrequests import schedule_deletion as ask
from keystead.app.kms.view import View
from keystead.cli.kms_services import ImpactAnswer
from keystead.errors import ConflictError, NotFoundError
from keystead.reconciler.ports import Kind, ObjectRef
from keystead.store.requests import KubeRequests


async def schedule_deletion(view: View, shown: ImpactAnswer, days: int) -> dict[str, str | int]:
    """NotFoundError and ConflictError where the object is gone, or is another key's by now."""
    ref = ObjectRef(Kind.KEY, shown.namespace, shown.name)
    live = await KubeRequests(view.kube).get(ref)
    if live is None:
        raise NotFoundError(f"there is no {ref} any more")
    if (live.get("status") or {}).get("keyArn") != shown.key_arn:
        raise ConflictError(f"{ref} is another key by now than the one that was shown; hint: look again")
    return await ask(view.kube, Subject(ref, live), days, False)
