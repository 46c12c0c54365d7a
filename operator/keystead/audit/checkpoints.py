"""The lines that vouch for all lines before them: checkpoints, which follow records after a while, and the end. For journal.py only.

What is signed is the place of the line in its chain (lines.py). So nothing can be chained while one is being signed: it is not waited for
long, and records go on without it. What may never enter: the signing key, which is in the token.
"""

from __future__ import annotations

import asyncio
import base64
import logging
from collections.abc import Callable
from datetime import datetime

from keystead.audit.lines import ALGORITHM, Chain, bare
from keystead.audit.ports import Signature, Signer
from keystead.audit.rules import Rules
from keystead.engine.clock import format_time

log = logging.getLogger(__name__)


class Checkpoints:
    """`due`: the next line is to be one. wake: called when that begins."""

    def __init__(self, chain: Chain, signer: Signer, now: Callable[[], datetime], rules: Rules, wake: Callable[[], None]) -> None:
        self.due = False
        self._chain = chain
        self._signer = signer
        self._now = now
        self._rules = rules
        self._wake = wake
        self._timer: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Lines were kept that none vouches for. One that is due already will."""
        if self._timer is None and not self.due:
            self._in(self._rules.checkpoint_seconds)

    async def line(self) -> bytes | None:
        """The one that is due; None where nobody signs: it will be due again."""
        record = await self._signed("checkpoint", self._rules.sign_seconds)
        self.due = False
        if record is None:
            self._in(self._rules.again_seconds)
        return record

    async def end(self) -> bytes:
        """The end of the chain, signed where that can be: nobody else can write it then. A checkpoint before it would take its place."""
        self.stop()
        self.due = False
        return await self._signed("end", self._rules.end_seconds) or bare("end", {"time": format_time(self._now())})

    def stop(self) -> None:
        """None will be due."""
        if self._timer is not None:
            self._timer.cancel()

    def _in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin)

    def _begin(self) -> None:
        self._timer, self.due = None, True
        self._wake()

    async def _signed(self, kind: str, seconds: float) -> bytes | None:
        """A line that vouches for all before it; None where nobody signs."""
        try:
            async with asyncio.timeout(seconds):
                signed = await self._signer.sign(self._chain.digest())
        except Exception as error:  # noqa: BLE001 - whatever it is: no signature, but the records go on
            log.warning("audit: no checkpoint was signed: %s", type(error).__name__)
            return None
        if signed is None:
            return None
        return bare(kind, {"time": format_time(self._now()), **_signature(signed)})


def _signature(signed: Signature) -> dict[str, str]:
    """The members of a signed line."""
    text = base64.b64encode(signed.signature).decode()
    return {"keyArn": signed.key_arn, "keyMaterialId": signed.material_id, "algorithm": ALGORITHM, "signature": text}
