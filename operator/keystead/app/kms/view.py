"""The cluster as one person may see it. What may not be read is an answer, `Unread`, never an empty list: nothing is guessed from it.

Used by everything in app/kms/. It reads; the one write of `kubectl kms` is in deletion.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from keystead.errors import ForbiddenError, NotFoundError
from keystead.reconciler.ports import Kind
from keystead.resources.names import API_VERSION
from keystead.store.kube import Kube

Body = dict[str, Any]
_KMS: Final = f"/apis/{API_VERSION}"


@dataclass(frozen=True, slots=True)
class Unread:
    """Something that this person may not read."""

    what: str

    def __str__(self) -> str:
        return f"you may not {self.what}"


class View:
    """Reads of one person. `unread`: what was refused so far, in words."""

    def __init__(self, kube: Kube) -> None:
        self.kube = kube
        self._unread: dict[str, None] = {}

    @property
    def unread(self) -> tuple[str, ...]:
        """What was refused so far, once each."""
        return tuple(self._unread)

    async def get(self, path: str, what: str) -> Body | Unread | None:
        """An object; None where it is not there. `what`: `get kmskeys/app in team-a`."""
        try:
            found: Body = await self.kube.request("GET", path)
        except NotFoundError:
            return None
        except ForbiddenError as error:
            return self._refused(what, error)
        return found

    async def lacks(self, path: str) -> bool:
        """Whether this person may see that it is not there. Where he may not look, that is not told as unread."""
        try:
            await self.kube.request("GET", path)
        except NotFoundError:
            return True
        except ForbiddenError as error:
            _check_known(error)
        return False

    async def items(self, path: str, what: str, query: Mapping[str, str] | None = None) -> tuple[Body, ...] | Unread:
        """A list; empty where there is no such kind."""
        try:
            found, _ = await self.kube.list_pages(path, query)
        except NotFoundError:
            return ()
        except ForbiddenError as error:
            return self._refused(what, error)
        return tuple(found)

    async def post(self, path: str, body: Body, what: str) -> Body | Unread:
        """A review: it makes nothing. A refusal is the asker's to tell: there may be another way."""
        try:
            made: Body = await self.kube.request("POST", path, body=body)
        except ForbiddenError as error:
            _check_known(error)
            return Unread(what)
        return made

    async def object(self, kind: Kind, namespace: str, name: str) -> Body | Unread | None:
        """One custom resource."""
        return await self.get(f"{_KMS}/namespaces/{namespace}/{kind.plural}/{name}", f"get {kind.plural}/{name} in {namespace}")

    async def objects(self, kind: Kind, namespace: str = "") -> tuple[Body, ...] | Unread:
        """Custom resources of a namespace; "": of all."""
        where = f"in {namespace}" if namespace else "in all namespaces"
        place = f"/namespaces/{namespace}" if namespace else ""
        return await self.items(f"{_KMS}{place}/{kind.plural}", f"list {kind.plural} {where}")

    async def lacks_namespace(self, name: str) -> bool:
        """The same of a namespace. To explain what is empty."""
        return await self.lacks(f"/api/v1/namespaces/{name}")

    def _refused(self, what: str, error: ForbiddenError) -> Unread:
        _check_known(error)
        self._unread[what] = None
        return Unread(what)


def _check_known(error: ForbiddenError) -> None:
    """Whom the API server does not know may read nothing at all: that is an error, not an answer."""
    if ": 401 " in str(error):
        raise error
