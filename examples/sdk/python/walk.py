"""Walks through Azure Key Vault with Microsoft's Python SDK as it comes: default options, and no mention of Airlock but
the vault's URL. ../README.md says what each step is.
"""

import logging
import os
import sys

from secrets_api import secrets
from signin import in_app, in_pod, with_certificate, with_managed_identity
from steps import Walk

# The kinds of machines that a program may find itself on, told from one another by the environment.
PLACES = {
    "app": lambda walk: secrets(walk, in_app(walk)),
    "certificate": with_certificate,
    "pod": in_pod,
    "vm": lambda walk: with_managed_identity(walk, "Identity not found"),
    "app-service": lambda walk: with_managed_identity(walk, "No User Assigned or Delegated Managed Identity found"),
}


def main() -> None:
    vault_url = os.environ.get("AIRLOCK_VAULT_URL")
    if len(sys.argv) != 2 or sys.argv[1] not in PLACES or not vault_url:
        sys.exit(f"usage: AIRLOCK_VAULT_URL=https://VAULT.vault.azure.net/ python walk.py {'|'.join(PLACES)}")
    logging.getLogger("azure.identity").setLevel(logging.CRITICAL)  # its warnings of logins that are to be refused
    walk = Walk(vault_url)
    PLACES[sys.argv[1]](walk)
    print(f"{walk.passed} steps passed")


if __name__ == "__main__":
    main()
