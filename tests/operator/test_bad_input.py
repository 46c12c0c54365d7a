"""draft"""
from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.operator.desk import KEY, Desk, desk
from tests.operator.harness import Installation

pytestmark = pytest.mark.cluster

@pytest.fixture(scope="module")
def at(installation: Installation) -> Iterator[Desk]:
    with desk(installation, "bad-input") as made:
        yield made

def nested(depth: int) -> Any:
    found: Any = {}
    for _ in range(depth):
        found = {"a": found}
    return found

@pytest.mark.parametrize("depth", [50, 900, 3000, 9000])
def test_deep(at: Desk, depth: int) -> None:
    text = '{"a":' * depth + "{}" + "}" * depth
    body = '{"apiVersion":"kms.keystead.io/v1alpha1","kind":"KmsKey","metadata":{"namespace":"bad-input","name":"deep-%d"},"spec":{"policy":%s}}' % (depth, text)
    import http.client
    from urllib.parse import urlsplit
    d = at.direct
    c = http.client.HTTPSConnection(urlsplit(d.url).netloc, context=d._tls, timeout=20)
    c.request("POST", "/apis/kms.keystead.io/v1alpha1/namespaces/bad-input/kmskeys", body, d._headers | {"Content-Type": "application/json"})
    r = c.getresponse(); out = r.read()
    print(depth, r.status, out[:300])
    at.key(f"next-{depth}")
    try:
        at.ready(KEY, f"next-{depth}")
        print(at.installation.cluster.kubectl("get", "kmskey", f"deep-{depth}", "-n", "bad-input", "-o", "jsonpath={.status.conditions}"))
    finally:
        print(at.operator.text[-3000:])
        c.request("DELETE", f"/apis/kms.keystead.io/v1alpha1/namespaces/bad-input/kmskeys/deep-{depth}", None, d._headers)
