"""SubjectAccessReview: RBAC's answer to one verb on one key."""

from __future__ import annotations

from keystead.policy import SubjectAccessReview
from keystead.store.kube import Kube


async def review(kube: Kube, question: SubjectAccessReview) -> bool:
    """Whether RBAC allows it. Anything but a clear yes is no."""
    body = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": question.user,
            "uid": question.uid,
            "groups": list(question.groups),
            "resourceAttributes": {
                "group": question.group,
                "resource": question.resource,
                "namespace": question.namespace,
                "name": question.name,
                "verb": question.verb,
            },
        },
    }
    answer = await kube.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", body=body)
    status = answer.get("status") or {}
    return status.get("allowed") is True and status.get("denied") is not True
