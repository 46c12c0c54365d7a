"""What this token can hold, by trying: generate, wrap, unwrap, use, verify in software. Never from the mechanism list.

Probed when a spec is first asked for, and remembered. RSA is probed with 2,048 bits for all three sizes: each new key
proves itself again before anybody gets it (generate). `hsm check` tries them all.
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
            return self.kind
        return Protection.SOFTWARE if self.software_allowed(spec) else None

    @property
    def kind(self) -> Protection:
        """What keys in this token are: HSM or TOKEN."""
        return Protection(self._settings.kind.value)

    def software_allowed(self, spec: KeySpec) -> bool:
        """Whether keys of this spec may be SOFTWARE where the token cannot hold them. Secrets never are."""
        return self._settings.software_protection is SoftwareProtection.ALLOWED and not row(spec).secret_length

    def token_holds(self, spec: KeySpec) -> bool:
        """Whether the token itself can hold keys of this spec."""
        call = self.unknown(spec)
        if call is not None:
            try:
                self._executor.run(call)
            except HsmUnsupportedError:
                self.learn(call, holds=False)
            else:
                self.learn(call, holds=True)
        return self._found[_probed(spec)]

    def unknown(self, spec: KeySpec) -> Generate | None:
        """The call that would tell whether the token holds this spec, None where that is known."""
        probed = _probed(spec)
        return None if probed in self._found else Generate(bytes(16), probed, self.kind, usages(probed)[0])

    def learn(self, call: Generate, *, holds: bool) -> None:
        """Remember what such a call told, for those who run it elsewhere."""
        self._found[call.spec] = holds


def _probed(spec: KeySpec) -> KeySpec:
    return KeySpec.RSA_2048 if row(spec).family is Family.RSA else spec
