"""Short ways to make and use material in tests: `new_material(hsm, spec)`, `encrypt`, `decrypt`, `sign`, `verify`."""

from __future__ import annotations

import os
from typing import Any

from keystead.engine import publickey
from keystead.engine.algorithms import SigningAlgorithm
from keystead.engine.blob import open_message, seal_message
from keystead.engine.context import encode_context
from keystead.engine.keyspec import usages
from keystead.engine.ports import Generate, GeneratedMaterial, Material, SignDigest
from keystead.resources.vocabulary import KeySpec, KeyUsage, Protection

CONTEXT = encode_context({"app": "test"})


def new_material(
    hsm: Any,
    spec: KeySpec = KeySpec.SYMMETRIC_DEFAULT,
    usage: KeyUsage | None = None,
    protection: Protection = Protection.TOKEN,
) -> Material:
    """Fresh material of a new key id."""
    key_id, usage = os.urandom(16), usage or usages(spec)[0]
    made = hsm.slow(Generate(key_id, spec, protection, usage))
    assert isinstance(made, GeneratedMaterial)
    return Material(key_id, spec, usage, protection, made.material_id, made.wrapped, made.plain_len, made.spki)


def encrypt(hsm: Any, material: Material, plaintext: bytes = b"plaintext", context: bytes = CONTEXT) -> bytes:
    return seal_message(lambda m: hsm.fast.derive(material, m), material.ids, os.urandom(32), plaintext, context)


def decrypt(hsm: Any, material: Material, blob: bytes, context: bytes = CONTEXT) -> bytes:
    return open_message(lambda m: hsm.fast.derive(material, m), blob, context)


def sign(hsm: Any, material: Material, algorithm: SigningAlgorithm, message: bytes) -> bytes:
    signature = hsm.slow(SignDigest(material, algorithm, publickey.signing_input(algorithm, message)))
    assert isinstance(signature, bytes)
    return signature


def verify(material: Material, algorithm: SigningAlgorithm, message: bytes, signature: bytes) -> bool:
    assert material.spki is not None
    return publickey.verify(material.spki, algorithm, publickey.signing_input(algorithm, message), signature)
