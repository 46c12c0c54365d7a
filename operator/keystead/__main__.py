"""Entry of `keystead` and `python -m keystead`: protected memory -> settings -> services -> command line."""

from __future__ import annotations

import sys

from keystead.app.services import AppServices
from keystead.cli.main import run
from keystead.cli.output import explain, say_error
from keystead.errors import KeysteadError
from keystead.hsm.memory import protect
from keystead.settings import from_environment


def main() -> int:
    """Exit codes: cli.output.ERRORS."""
    protect()  # before a PIN, a key or a plaintext is in memory
    try:
        settings = from_environment()
    except KeysteadError as error:
        message, hint, code = explain(error)
        say_error(message, hint)
        return code
    return run(sys.argv[1:], AppServices(settings))


if __name__ == "__main__":
    sys.exit(main())
