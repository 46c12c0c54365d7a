"""Account ids: claimed for a namespace by a create-only record, never freed (RECORDS, Identity)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from keystead.engine.clock import format_time
from keystead.engine.identifiers import RECORDS_NAMESPACE, AccountId, RecordKind, account_id, record_name
from keystead.engine.ports import Domain
from keystead.engine.record import AccountRecord, InstallRecord
from keystead.errors import ConflictError, RecordIntegrityError
from keystead.reconciler.book import RecordBook

_MOST = 64


class Accounts:
    """Finds or claims the account of a namespace. Remembers what it found: an account never changes hands, but by adoption.

    `given`: ids that somebody chose, by namespace (`keystead dev --account`); they are claimed like derived ones.
    One at a time: a key that is made while another one is adopted must not give one namespace two accounts.
    """

    def __init__(self, book: RecordBook, given: Mapping[str, AccountId] | None = None) -> None:
        self._book = book
        self._given = given or {}
        self._turn = asyncio.Lock()
        self._known: dict[tuple[str, str], AccountId] = {}
        self._people: AccountId | None = None

    async def claim(self, domain: Domain, namespace: str, uid: str, transition: int, now: datetime) -> AccountId:
        """The account id of this namespace of this uid; made where there is none yet."""
        if (namespace, uid) not in self._known:
            async with self._turn:
                if (namespace, uid) not in self._known:
                    install = await self._install(domain)
                    owner = (namespace, uid)
                    self._known[owner] = await self._search(domain, bytes.fromhex(install.install_id), owner, transition, now)
        return self._known[namespace, uid]

    async def own(self, domain: Domain, uid: str, transition: int, now: datetime) -> AccountId:
        """The install's own account: the first one of keystead-records, for ever. It follows a namespace that is restored."""
        owner = (RECORDS_NAMESPACE, uid)
        async with self._turn:
            if owner not in self._known:
                install = await self._install(domain)
                first = self._candidate(bytes.fromhex(install.install_id), RECORDS_NAMESPACE, 0)
                held = await self._book.read(domain, record_name(RecordKind.ACCOUNT, first), AccountRecord)
                if held is not None and held.record.namespace == RECORDS_NAMESPACE and held.record.namespace_uid != uid:
                    self._known[owner] = await self._take_over(domain, owner, first)
        return await self.claim(domain, RECORDS_NAMESPACE, uid, transition, now)

    async def adopt(self, domain: Domain, namespace: str, uid: str, account: str, transition: int) -> AccountId:
        """The account that an adopted key comes to: the one this namespace has already, else the key's own, which follows it."""
        async with self._turn:
            known = self._known.get((namespace, uid))
            if known is None:
                install = await self._install(domain)
                known = await self._existing(domain, bytes.fromhex(install.install_id), (namespace, uid))
            if known is None:
                known = await self._take_over(domain, (namespace, uid), account)
            self._known[namespace, uid] = known
        return known

    async def foreseen(self, domain: Domain, namespace: str, uid: str) -> AccountId:
        """The account that `claim` would answer now. Nothing is claimed: for who must know before there is a reason to."""
        known = self._known.get((namespace, uid))
        if known is not None:
            return known
        install = await self._install(domain)
        for n in range(_MOST):
            candidate = self._candidate(bytes.fromhex(install.install_id), namespace, n)
            held = await self._book.read(domain, record_name(RecordKind.ACCOUNT, candidate), AccountRecord)
            if held is None or (held.record.namespace, held.record.namespace_uid) == (namespace, uid):
                return candidate
        raise RecordIntegrityError(f"no free account id for namespace {namespace} in {_MOST} derivations")

    async def _take_over(self, domain: Domain, owner: tuple[str, str], account: str) -> AccountId:
        held = await self._book.read(domain, record_name(RecordKind.ACCOUNT, account), AccountRecord)
        if held is None or held.record.namespace != owner[0]:
            raise RecordIntegrityError(f"account {account} has no record of namespace {owner[0]}; restore keystead-records")
        await self._book.replace(domain, RecordKind.ACCOUNT, held, replace(held.record, namespace_uid=owner[1]))
        return AccountId(account)

    async def of_people(self, domain: Domain) -> AccountId:
        """The account that people are of: the install's own (own). RecordIntegrityError without an install record."""
        if self._people is None:
            install = await self._install(domain)
            self._people = self._candidate(bytes.fromhex(install.install_id), RECORDS_NAMESPACE, 0)
        return self._people

    async def _existing(self, domain: Domain, install_id: bytes, owner: tuple[str, str]) -> AccountId | None:
        """The account that this namespace of this uid has, without claiming one."""
        for n in range(_MOST):
            candidate = self._candidate(install_id, owner[0], n)
            held = await self._book.read(domain, record_name(RecordKind.ACCOUNT, candidate), AccountRecord)
            if held is None:
                return None
            if (held.record.namespace, held.record.namespace_uid) == owner:
                return candidate
        return None

    def _candidate(self, install_id: bytes, namespace: str, n: int) -> AccountId:
        return self._given.get(namespace) or account_id(install_id, namespace, n)

    async def _install(self, domain: Domain) -> InstallRecord:
        held = await self._book.read(domain, record_name(RecordKind.INSTALL), InstallRecord)
        if held is None:
            raise RecordIntegrityError(
                "there is no install record: account ids cannot be derived; hint: run `keystead hsm init --to-cluster`, "
                "or restore keystead-records"
            )
        return held.record

    async def _search(
        self, domain: Domain, install_id: bytes, owner: tuple[str, str], transition: int, now: datetime
    ) -> AccountId:
        namespace, uid = owner
        for n in range(_MOST):
            candidate = self._candidate(install_id, namespace, n)
            name = record_name(RecordKind.ACCOUNT, candidate)
            held = await self._book.read(domain, name, AccountRecord)
            if held is None:
                record = AccountRecord(
                    domain_generation=domain.generation,
                    domain_fingerprint=domain.fingerprint,
                    namespace_uid=uid,
                    transition=transition,
                    seq=1,
                    account_id=candidate,
                    n=n,
                    namespace=namespace,
                    created=format_time(now),
                )
                try:
                    held = await self._book.create(domain, RecordKind.ACCOUNT, name, record)
                except ConflictError:
                    held = await self._book.read(domain, name, AccountRecord)
                    if held is None:  # refused, yet nobody has it: the next n would be a second account for ever
                        raise
            if (held.record.namespace, held.record.namespace_uid) == owner:
                return candidate
        raise RecordIntegrityError(f"no free account id for namespace {namespace} in {_MOST} derivations")
