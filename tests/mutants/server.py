"""Faults of the endpoint: signatures, credentials, the door, quotas, facts. Tried by `make mutants`."""

from __future__ import annotations

from tests.mutants.mutant import SERVER, Mutant

MUTANTS = (
    Mutant(
        "one namespace's questions take all the room",
        f"{SERVER}/facts.py",
        "        async with _turn(self._reviews_at_once[hash(review.namespace) % _PLACES]):",
        "        if True:",
        ("tests/server/test_facts.py::test_a_namespace_that_asks_for_hundreds_of_rights_leaves_room_for_the_others",),
    ),
    Mutant(
        "a payload hash that was sent is not compared",
        f"{SERVER}/sigv4.py",
        "if sent is not None and sent != payload_hash.encode():",
        "if False:",
        ("tests/server/test_sigv4.py", "-k", "payload_hash or scope"),
    ),
    Mutant(
        "credentials of another service sign",
        f"{SERVER}/sigv4.py",
        "if scope.service != self._service:",
        "if False:",
        ("tests/server/test_sigv4.py", "-k", "payload_hash or scope"),
    ),
    Mutant(
        "a session token's seal is not compared",
        f"{SERVER}/credentials.py",
        "if not hmac.compare_digest(mac, _seal(domain, body)):",
        "if False:",
        ("tests/server/test_credentials.py", "-k", "single_bit or secret"),
    ),
    Mutant(
        "the secret access key stands in the session token",
        f"{SERVER}/credentials.py",
        'Label.CREDENTIAL, b"secret", body)',
        'Label.CREDENTIAL, b"seal", body)',
        ("tests/server/test_credentials.py", "-k", "single_bit or secret"),
    ),
    Mutant(
        "the body is read before the signature holds",
        f"{SERVER}/door.py",
        "            identity = self._parts.authenticator.authenticate(asked, passage.now)\n",
        "            self._parts.wire.decode(passage.operation, asked.body)\n"
        "            identity = self._parts.authenticator.authenticate(asked, passage.now)\n",
        ("tests/server/test_door.py",),
    ),
    Mutant(
        "a call is begun while no audit record can be kept",
        f"{SERVER}/door.py",
        "        if parts.audit.stopped:\n",
        "        if False:\n",
        ("tests/server/test_door_audit.py",),
    ),
    Mutant(
        "an answer does not wait for its audit record",
        f"{SERVER}/door.py",
        '            return self._when_recorded(passage, recorded, reply, "")\n        self._count(passage, "")\n',
        '            pass\n        self._count(passage, "")\n',
        ("tests/server/test_door_audit.py",),
    ),
    Mutant(
        "a call is counted as answered whose record fails",
        f"{SERVER}/door.py",
        '            return self._when_recorded(passage, recorded, reply, "")\n',
        '            self._parts.served(operation, "")\n            return self._when_recorded(passage, recorded, reply, "")\n',
        ("tests/server/test_door_audit.py",),
    ),
    Mutant(
        "a read model that is behind is believed",
        f"{SERVER}/door.py",
        "        if stale is not None:",
        "        if False:",
        ("tests/server/test_door.py",),
    ),
    Mutant(
        "a bucket holds one call more",
        f"{SERVER}/quota.py",
        "if due - now > rate.slack:",
        "if due - now > rate.slack + rate.interval:",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "accounts share a bucket",
        f"{SERVER}/quota.py",
        "caller.principal if caller.kind is CallerKind.USER else caller.account",
        "caller.kind.value",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "a refused call does not keep its bucket",
        f"{SERVER}/quota.py",
        "            self._young[place] = due\n",
        "",
        ("tests/server/test_quota.py",),
    ),
    Mutant(
        "the door asks for no quota",
        f"{SERVER}/door.py",
        "        parts.quota.charge(operation, request, identity.caller, identity.region)\n",
        "",
        ("tests/server/test_door_quota.py",),
    ),
    Mutant(
        "one caller waits without bound",
        f"{SERVER}/driver.py",
        "if self.waiters[by] >= MAX_WAITERS:",
        "if False:",
        ("tests/server/test_driver.py",),
    ),
    Mutant(
        "a narrowing change does not wait for the siblings",
        f"{SERVER}/driver.py",
        "if change.narrows and not await self.siblings.confirm(SIBLING_SECONDS):",
        "if False:",
        ("tests/server/test_driver.py",),
    ),
    Mutant(
        "a no lives as long as a yes",
        f"{SERVER}/factcache.py",
        "fact is not None and now < fact.at + NO_SECONDS",
        "fact is not None and now < fact.at + YES_SECONDS",
        ("tests/server/test_facts.py",),
    ),
    Mutant(
        "a member that the operation does not know is ignored",
        f"{SERVER}/decode.py",
        '                raise SerializationError("The request has a member that the operation does not know.")',
        "                continue",
        ("tests/server/test_bad_json.py",),
    ),
    Mutant(
        "STS gives credentials without a record",
        "operator/keystead/server/sts.py",
        "        await self._recorded(asked, request_id, actor, request, minted)\n",
        "",
        ("tests/server/test_sts_audit.py::test_credentials_are_on_record_in_cloudtrails_shape",),
    ),
)
