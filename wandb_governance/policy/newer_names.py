"""Options under the newer field names, as the rules know them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wandb_governance.errors import PolicyDocumentError

if TYPE_CHECKING:
    from collections.abc import Mapping

_MODES = {
    "pci_mode": ("CREDIT_CARD", "IBAN_CODE", "BANK_ACCOUNT"),
    # What has a form among the 18 identifiers of 45 CFR 164.514(b)(2); record and plan numbers have none.
    "healthcare_mode": (
        "DATE_OF_BIRTH",
        "PHONE_NUMBER",
        "EMAIL_ADDRESS",
        "US_SSN",
        "UK_NHS",
        "BANK_ACCOUNT",
        "DRIVER_LICENSE",
        "PASSPORT",
        "IP_ADDRESS",
        "URL",
    ),
}


def rule_options(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """``options`` of a rule with what the newer names mean put in place of them.

    Raises:
        PolicyDocumentError: A mode is neither true nor false.
    """
    known = dict(options)
    if kind != "pii-detector":
        return known
    for name, entities in _MODES.items():
        if name not in known:
            continue
        wanted = known.pop(name)
        if not isinstance(wanted, bool):
            raise PolicyDocumentError("must be true or false", key=name)
        # Without a list every structured entity is found, these among them, but for URL.
        if wanted and isinstance(known.get("entities"), list):
            known["entities"] = list(dict.fromkeys([*known["entities"], *entities]))
    return known
