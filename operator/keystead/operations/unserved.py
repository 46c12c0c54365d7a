"""What AWS has and no door serves, each with the reason that a caller is told. Pure: two tables.

Read by server/codec.py, which answers by it, and by reference.py, which shows it beside the permissions. Together with those it is every
operation of the service model, and every action that a policy of AWS's can name (tests/docs/test_permissions_page.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_STORES: Final = "Custom key stores are not supported: every key is in the token of its Keystead domain."
_IMPORT: Final = "Importing key material is not supported in this version."
_REGIONS: Final = "Multi-Region keys are not supported in this version."
_ML_KEM: Final = "ML-KEM keys are not supported in this version."

UNSERVED: Final[Mapping[str, str]] = {
    "ConnectCustomKeyStore": _STORES,
    "CreateCustomKeyStore": _STORES,
    "Decapsulate": _ML_KEM,
    "DeleteCustomKeyStore": _STORES,
    "DeleteImportedKeyMaterial": _IMPORT,
    "DescribeCustomKeyStores": _STORES,
    "DisconnectCustomKeyStore": _STORES,
    "Encapsulate": _ML_KEM,
    "GetParametersForImport": _IMPORT,
    "ImportKeyMaterial": _IMPORT,
    "ReplicateKey": _REGIONS,
    "UpdateCustomKeyStore": _STORES,
    "UpdatePrimaryRegion": _REGIONS,
}
"""Operation of the model that no door serves -> the reason."""

UNCALLED: Final[Mapping[str, str]] = {
    "SynchronizeMultiRegionKey": "No operation has this action, at AWS neither: there the service does it by itself.",
}
"""Action that a policy can name and no operation asks for -> the reason."""
