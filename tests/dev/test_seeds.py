"""What a seed file may say, and how each thing that it may not say is refused: by file, document, field and fix."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from keystead.app.dev.seeds import load_seeds
from keystead.dev.documents import MAX_BYTES, MAX_DOCUMENTS
from keystead.dev.seeds import Seeds, read_seeds
from keystead.errors import InvalidSpecError
from keystead.reconciler.ports import Kind, ObjectRef

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples/dev/seed.yaml"
KEY_ID, OTHER_ID = "7d84313c-2079-4cbe-b049-ca1ab1f6ad16", "15540a5c-3c73-44da-94b7-714d047c59c2"
SECRET = b"not to be seen in any message!!!"
MATERIAL = base64.b64encode(SECRET).decode()


def a_key(name: str = "k", *, metadata: dict[str, Any] | None = None, spec: Any = None, **members: Any) -> str:
    """A KmsKey's document."""
    body = {"apiVersion": "kms.keystead.io/v1alpha1", "kind": "KmsKey", "metadata": {"name": name, **(metadata or {})}}
    return yaml.safe_dump({**body, "spec": {} if spec is None else spec, **members})


def an_alias(name: str, **members: Any) -> str:
    spec = {"aliasName": f"alias/{name}", "keyRef": {"name": "k"}}
    return a_key(name, **{"kind": "KmsAlias", "spec": spec, **members})


def read(*texts: str) -> Seeds:
    """One file of these documents."""
    return read_seeds([("seed.yaml", "---\n".join(texts).encode())])


def test_a_seed_gives_id_and_material_and_is_taken_out_of_the_manifest():
    (document,) = read(a_key(seed={"keyId": KEY_ID, "material": MATERIAL})).documents
    assert document.seed is not None
    assert (document.seed.key_id, document.seed.material) == (KEY_ID, SECRET)
    assert "seed" not in document.manifest
    assert document.ref == ObjectRef(Kind.KEY, "default", "k")


def test_a_manifest_without_a_namespace_is_in_default_and_others_are_made():
    namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: empty}\n"
    seeds = read(a_key(), a_key(metadata={"namespace": "team-a"}), namespace)
    assert [document.ref.namespace for document in seeds.documents] == ["default", "team-a"]
    assert seeds.namespaces == {"default", "team-a", "empty"}


def test_a_seed_is_found_by_its_object():
    seeds = read(a_key("a", seed={"keyId": KEY_ID}), a_key("b"))
    found = seeds.of(ObjectRef(Kind.KEY, "default", "a"))
    assert found is not None and found.key_id == KEY_ID
    assert seeds.of(ObjectRef(Kind.KEY, "default", "b")) is None
    assert seeds.of(ObjectRef(Kind.KEY, "other", "a")) is None


def test_material_may_be_broken_over_lines():
    (document,) = read(a_key(seed={"material": f"{MATERIAL[:20]}\n  {MATERIAL[20:]}\n"})).documents
    assert document.seed is not None and document.seed.material == SECRET


def test_a_date_is_text_as_the_api_server_takes_it():
    (document,) = read(a_key(metadata={"annotations": {"a": "x"}}).replace("a: x", "a: 2031-05-06")).documents
    assert document.manifest["metadata"]["annotations"] == {"a": "2031-05-06"}


def test_an_empty_file_and_empty_documents_are_no_seeds():
    assert read("", "# nothing\n", "").documents == ()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_examples_of_a_cluster_are_seeds_but_for_data_keys_and_rbac(path):
    held = [body["kind"] for body in yaml.safe_load_all(path.read_text())]
    if set(held) <= {"KmsKey", "KmsAlias", "KmsGrant", "Namespace", "ServiceAccount"}:
        seeds = load_seeds([path])
        assert [document.ref.kind for document in seeds.documents] == [kind for kind in held if kind.startswith("Kms")]
        assert seeds.namespaces == {"orders"}
    else:
        with pytest.raises(InvalidSpecError, match=rf"{path.name}, document \d: kind: .* KmsKey, KmsAlias, KmsGrant"):
            load_seeds([path])


def test_the_example_of_dev_is_a_seed():
    seeds = load_seeds([EXAMPLE])
    assert [document.ref.name for document in seeds.documents] == ["orders", "sessions", "invoices", "orders", "report-job"]
    assert all(document.seed is not None for document in seeds.documents if document.ref.kind is Kind.KEY)


def seed(given: Any, **spec: Any) -> list[str]:
    return [a_key(seed=given, spec=spec)]


def b64(count: int) -> str:
    return base64.b64encode(b"S" * count).decode()


ENCRYPT_RSA = {"keySpec": "RSA_2048", "keyUsage": "ENCRYPT_DECRYPT"}
ALIAS = {"aliasName": "alias/a", "keyRef": {"name": "k"}}
MAC = {"keySpec": "HMAC_384", "keyUsage": "GENERATE_VERIFY_MAC"}
BAD: list[tuple[str, list[str], str]] = [
    ("not YAML", ["a: [1"], r"document 1: line \d+: not YAML"),
    ("unknown tag", ["a: !!python/object:os.system x"], r"document 1: line 1: "),
    ("a control character", ["a: \x07"], r"document 1: not YAML"),
    ("a list", ["- a"], r"document 1: not a manifest: give apiVersion"),
    ("key twice", [a_key(), "kind: A\nkind: B\n"], r"document 2: line \d+: a name stands here twice"),
    ("key twice below", ["a:\n  b: 1\n  b: 1\n"], r"document 1: line 3: a name stands here twice"),
    ("alias", ["a: &a [1]\nb: *a\n"], r"document 1: line 2: an alias .* write out"),
    ("number as a name", ["1: a"], r"document 1: line 1: a name must be text"),
    ("no number", ["a: .nan"], r"document 1: a: JSON has no such value"),
    ("bytes", ["a: [!!binary aGk=]"], r"document 1: a\[0\]: JSON has no such value"),
    ("nested", ["[" * 5000], r"document 1: nested too deeply"),
    ("kind", [a_key(kind="KmsDataKey")], r"document 1: kind: 'KmsDataKey': a seed has KmsKey, KmsAlias, KmsGrant"),
    ("no kind", ["metadata: {name: a}"], r"document 1: kind: 'None'"),
    ("version", [a_key(apiVersion="kms.keystead.io/v2")], r"document 1: apiVersion: .* write kms.keystead.io/v1alpha1"),
    ("no name", ["apiVersion: kms.keystead.io/v1alpha1\nkind: KmsKey"], r"document 1: metadata.name: is required"),
    ("namespace", [a_key(metadata={"namespace": 5})], r"document 1: metadata.namespace: is required, as text"),
    ("spec", [a_key(spec=[])], r"document 1: spec: must be a mapping"),
    ("seed of an alias", [an_alias("a", seed={"keyId": KEY_ID})], r"document 1: seed: only a KmsKey has one"),
    ("empty seed", seed({}), r"document 1: seed: give keyId, material, or both"),
    ("text as seed", seed("x"), r"document 1: seed: give keyId"),
    ("file of material", seed({"materialFile": "key.bin"}), r"document 1: seed.materialFile: unknown: .* keyId and material"),
    ("multi-Region id", seed({"keyId": "mrk-" + "0" * 32}), r"document 1: seed.keyId: mrk- .* give a UUID"),
    ("upper case id", seed({"keyId": KEY_ID.upper()}), r"document 1: seed.keyId: must be a UUID in lower case"),
    ("id without hyphens", seed({"keyId": KEY_ID.replace("-", "")}), r"document 1: seed.keyId: must be a UUID"),
    ("number as id", seed({"keyId": 5}), r"document 1: seed.keyId: must be a UUID"),
    ("not base64", seed({"material": "?" + MATERIAL}), r"document 1: seed.material: must be base64"),
    ("no padding", seed({"material": MATERIAL.rstrip("=")}), r"document 1: seed.material: must be base64"),
    ("no material", seed({"material": ""}), r"document 1: seed.material: must be base64"),
    ("number as material", seed({"material": 5}), r"document 1: seed.material: must be base64"),
    ("16 bytes", seed({"material": b64(16)}), r"document 1: seed.material: 16 bytes: SYMMETRIC_DEFAULT takes 32 or 64 bytes"),
    ("MAC length", seed({"material": b64(32)}, **MAC), r"document 1: seed.material: 32 bytes: HMAC_384 takes 48 bytes"),
    ("no PKCS#8", seed({"material": b64(99)}, **ENCRYPT_RSA), r"document 1: seed.material: not a private key: RSA_2048 takes"),
    ("spec of no key", seed({"material": b64(32)}, keySpec="AES"), r"document 1: spec.keySpec: 'AES': one of SYMMETRIC_DEFAULT"),
    ("one name twice", [a_key(), a_key("b"), a_key()], r"document 3: metadata.name: KmsKey default/k is in seed.yaml, document 1"),
    ("one alias twice", [an_alias("a"), an_alias("b", spec=ALIAS)], r"document 2: spec.aliasName: alias/a of namespace default is in"),
    (
        "one id twice",
        [a_key("a", seed={"keyId": KEY_ID}), a_key("b", seed={"keyId": KEY_ID})],
        rf"document 2: seed.keyId: {KEY_ID} is in seed.yaml, document 1",
    ),
]


@pytest.mark.parametrize(("texts", "words"), [row[1:] for row in BAD], ids=[row[0] for row in BAD])
def test_a_bad_seed_is_refused_by_document_field_and_fix(texts: list[str], words: str) -> None:
    with pytest.raises(InvalidSpecError, match=f"^seed.yaml, {words}") as caught:
        read(*texts)
    assert not any(part in str(caught.value) for part in (MATERIAL.rstrip("="), SECRET.decode(), "SSS", "U1NT"))


def test_one_name_or_id_in_two_files_is_refused():
    files = [("a.yaml", a_key(seed={"keyId": KEY_ID}).encode()), ("b.yaml", a_key("b", seed={"keyId": KEY_ID}).encode())]
    with pytest.raises(InvalidSpecError, match=rf"^b.yaml, document 1: seed.keyId: {KEY_ID} is in a.yaml, document 1"):
        read_seeds(files)
    two = read_seeds([files[0], ("b.yaml", a_key("b", seed={"keyId": OTHER_ID}).encode())])
    assert len(two.documents) == 2


def test_a_file_that_is_too_large_or_no_text_is_refused():
    for content, words in ((b"#" * (MAX_BYTES + 1), "larger than"), (b"\xff\xfe", "not UTF-8")):
        with pytest.raises(InvalidSpecError, match=f"^seed.yaml: {words}"):
            read_seeds([("seed.yaml", content)])


def test_a_file_of_too_many_documents_is_refused():
    many = "---\n".join(f"apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: a{n}}}\n" for n in range(MAX_DOCUMENTS + 1))
    with pytest.raises(InvalidSpecError, match=f"^seed.yaml: more than {MAX_DOCUMENTS} documents"):
        read(many)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(InvalidSpecError, match=r"^--seed: .*none.yaml: No such file"):
        load_seeds([tmp_path / "none.yaml"])


def test_what_the_api_server_would_refuse_is_refused_before_anything_is_made(tmp_path):
    file = tmp_path / "seed.yaml"
    file.write_text("---\n".join([a_key(), a_key("b", spec={"descriptoin": "a"}), an_alias("a")]))
    with pytest.raises(InvalidSpecError, match=r'seed.yaml, document 2: KmsKey.*"b" is invalid: .*spec.descriptoin'):
        load_seeds([file])


def test_no_repr_shows_material():
    seeds = read(a_key(seed={"keyId": KEY_ID, "material": MATERIAL}))
    assert MATERIAL not in repr(seeds) and SECRET.decode() not in repr(seeds)
