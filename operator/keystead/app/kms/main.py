"""Entry of `kubectl-kms`, which kubectl runs as `kubectl kms`. No token, no settings, no server: a kubeconfig is enough."""

from __future__ import annotations

import sys

from keystead.app.kms.services import AppKmsServices
from keystead.cli.kms import kms, run
from keystead.cli.kms_audit import audit_command
from keystead.cli.kms_usage import usage_command

kms.add_command(audit_command)
kms.add_command(usage_command)


def main() -> int:
    """Exit codes: 0 done or allowed, 1 denied, 2 no answer."""
    return run(sys.argv[1:], AppKmsServices())


if __name__ == "__main__":
    sys.exit(main())
