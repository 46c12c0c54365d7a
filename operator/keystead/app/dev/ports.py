"""Ports of a process without a cluster: what the API server would answer, answered by what `keystead dev` is.

There is no RBAC: an access key is the root of its account, which the default key policy lets do everything. ServiceAccounts exist as far as
web identity tokens (--jwks) name them; they have what grants give them, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keystead.engine.plan.secret import DesiredSecret, SecretFacts
from keystead.errors import RefusedError
from keystead.policy import SubjectAccessReview
from keystead.reconciler.ports import Kind
from keystead.server.credentials import TokenIdentity


class NoReviews:
    """Implements `server.driver.Facts`: RBAC gives nobody anything. `uids`: the namespaces that there are now, and their uids."""

    def __init__(self, uids: Callable[[], Mapping[str, str]]) -> None:
        self._uids = uids

    def known(self, _review: SubjectAccessReview) -> bool | None:
        """No."""
        return False

    async def ask(self, _review: SubjectAccessReview) -> bool:
        """No."""
        return False

    def known_namespace(self, namespace: str) -> str | None:
        """The uid of the namespace of this name."""
        return self._uids().get(namespace)

    async def namespace(self, namespace: str) -> str | None:
        """The uid of the namespace of this name."""
        return self._uids().get(namespace)


class LocalAlive:
    """Implements `server.identity.Alive`: a ServiceAccount is there for as long as its credentials."""

    def known(self, _who: TokenIdentity) -> bool | None:
        """Yes."""
        return True

    async def ask(self, _who: TokenIdentity) -> bool:
        """Yes."""
        return True


class AlwaysFresh:
    """Implements `server.door.Stream`: the read model is fed by this process's own commits."""

    @property
    def refusal(self) -> str | None:
        """Nothing stands against it."""
        return None


class Alone:
    """Implements `server.driver.Siblings`: one worker has none."""

    async def confirm(self, _seconds: float) -> bool:
        """They all have seen it."""
        return True


class Silent:
    """Implements `reconciler.workers.Observer`: nobody asks for metrics."""

    def reconciled(self, kind: Kind, seconds: float, result: str) -> None:
        """Nothing."""


class NoSecrets:
    """Implements `reconciler.ports.Secrets`: there are no Secrets, and no KmsDataKey is accepted that would want one."""

    async def get(self, _namespace: str, _name: str) -> SecretFacts | None:
        """None."""
        return None

    async def create(self, _desired: DesiredSecret) -> SecretFacts:
        """Refused."""
        raise RefusedError("keystead dev has no Secrets")

    async def apply(self, _desired: DesiredSecret, _found: SecretFacts) -> SecretFacts:
        """Refused."""
        raise RefusedError("keystead dev has no Secrets")
