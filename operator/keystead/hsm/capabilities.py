"""What this token can hold, by trying: generate, wrap, unwrap, use, verify in software. Never from the mechanism list.

Probed when a spec is first asked for, and remembered. RSA is probed with 2,048 bits for all three sizes: each new key proves itself
again before anybody gets it (generate). `hsm check` tries them all.
"""

from __future__ import annotations

from keystead.engine.keyspec import Family, row, usages
from keystead.engine.ports import Generate
from keystead.errors import HsmUnsupportedError
from keystead.hsm.domain import TokenDomain
from keystead.hsm.executor import Executor
from keystead.resources.vocabulary import KeySpec, Protection
from keystead.settings import HsmSettings, SoftwareProtection


class TokenCapabilities:
    """Implements `engine.ports.Capabilities`."""

    def __init__(self, settings: HsmSettings, domain: TokenDomain, executor: Executor) -> None:
        self._settings = settings
        self._domain = domain
        self._executor = executor
        self._found: dict[KeySpec, bool] = {}

    def protection(self, spec: KeySpec) -> Protection | None:
        """HSM or TOKEN, SOFTWARE where the token cannot and the store allows it, None: unsupported."""
        if self.token_holds(spec):
            return Protection(self._settings.kind.value)
        if self._settings.software_protection is SoftwareProtection.ALLOWED and not row(spec).secret_length:
            return Protection.SOFTWARE
        return None

    def token_holds(self, spec: KeySpec) -> bool:
        """Whether the token itself can hold keys of this spec."""
        probed = KeySpec.RSA_2048 if row(spec).family is Family.RSA else spec
        if probed not in self._found:
            self._found[probed] = self._try(probed)
        return self._found[probed]

    def _try(self, spec: KeySpec) -> bool:
        call = Generate(bytes(16), spec, Protection(self._settings.kind.value), usages(spec)[0])
        try:
            self._executor.run(call)
        except HsmUnsupportedError:
            return False
        return True
