"""Identities and a moment for the tests of credentials and STS: values of our own port, as TokenReview would fill it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

NOW = datetime(2026, 11, 26, 8, 0, 0, tzinfo=UTC)
ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/app"
SA_UID = "0a4c2d3e-0000-4000-8000-00000000000a"


@dataclass(frozen=True, slots=True)
class AnIdentity:
    """`credentials.TokenIdentity`: the ServiceAccount `app` of team-a, in a Pod."""

    namespace: str = "team-a"
    namespace_uid: str = "0a4c2d3e-0000-4000-8000-000000000001"
    account: str = ACCOUNT
    service_account: str = "app"
    uid: str = SA_UID
    pod_name: str = "app-7f9c"
    pod_uid: str = "0a4c2d3e-0000-4000-8000-0000000000f0"
