"""Reads one secret with the Azure SDK as it comes: default options, no mention of Airlock."""

import os
import sys

from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

name = sys.argv[1]
with DefaultAzureCredential() as credential:
    with SecretClient(os.environ["AIRLOCK_VAULT_URL"], credential) as client:
        secret = client.get_secret(name)
print(f"read {name}: {len((secret.value or '').encode())} bytes, version {secret.properties.version}")
