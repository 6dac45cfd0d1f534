"""Every way to sign in that needs no person."""

import base64
import json
import os
from collections.abc import Callable

from azure.core.credentials import TokenCredential
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import (
    CertificateCredential,
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from azure.keyvault.secrets import SecretClient

from steps import Walk, differ

SCOPE = "https://vault.azure.net/.default"


def sign_in(walk: Walk, step: str, client_id: str, login: Callable[[], TokenCredential]) -> None:
    """A step that signs in, looks whom the token speaks for, and shows it to the vault."""

    def do() -> None:
        with login() as credential, SecretClient(walk.vault_url, credential) as client:
            who = app_id(credential.get_token(SCOPE).token)
            next(client.list_properties_of_secrets().by_page(), None)
            differ(who_is_signed_in=bool(client_id) and who == client_id)

    walk.step(step, do)


def refused(walk: Walk, step: str, reason: str, login: Callable[[], TokenCredential]) -> None:
    """A step whose login must fail for the reason."""

    def do() -> None:
        said = ""
        try:
            with login() as credential:
                credential.get_token(SCOPE)
        except ClientAuthenticationError as error:
            said = str(error)
        differ(the_refusal=reason in said)

    walk.step(step, do)


def app_id(token: str) -> str | None:
    """The claim of an access token that says for which client it speaks.

    Programs have no business to look into tokens; this one does, because the SDK does not tell which identity a
    credential found.
    """
    claims = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4))).get("appid")


def in_app(walk: Walk) -> DefaultAzureCredential:
    tenant_id, client_id = os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"]
    secret = os.environ["AZURE_CLIENT_SECRET"]
    sign_in(walk, "client-secret", client_id, lambda: ClientSecretCredential(tenant_id, client_id, secret))
    wrong = "not-the-secret"
    refused(walk, "wrong-client-secret", "AADSTS7000215", lambda: ClientSecretCredential(tenant_id, client_id, wrong))
    sign_in(walk, "default-credential", client_id, DefaultAzureCredential)
    return DefaultAzureCredential()


def with_certificate(walk: Walk) -> None:
    tenant_id, client_id = os.environ["AZURE_TENANT_ID"], os.environ["AZURE_CLIENT_ID"]
    path = os.environ["AZURE_CLIENT_CERTIFICATE_PATH"]
    sign_in(walk, "client-certificate", client_id, lambda: CertificateCredential(tenant_id, client_id, path))
    sign_in(
        walk,
        "client-certificate-chain",
        client_id,
        lambda: CertificateCredential(tenant_id, client_id, path, send_certificate_chain=True),
    )
    sign_in(walk, "default-credential", client_id, DefaultAzureCredential)


def in_pod(walk: Walk) -> None:
    client_id = os.environ["AZURE_CLIENT_ID"]
    sign_in(walk, "workload-identity", client_id, WorkloadIdentityCredential)
    sign_in(walk, "managed-identity", client_id, ManagedIdentityCredential)
    sign_in(walk, "default-credential", client_id, DefaultAzureCredential)


def with_managed_identity(walk: Walk, unknown: str) -> None:
    """Goes by the refusal of an identity that the machine has not got: each source has its own."""
    system, user = os.environ["WALK_SYSTEM_CLIENT_ID"], os.environ["WALK_USER_CLIENT_ID"]
    by_object = {"object_id": os.environ["WALK_USER_OBJECT_ID"]}
    by_resource = {"resource_id": os.environ["WALK_USER_RESOURCE_ID"]}
    sign_in(walk, "system-assigned", system, ManagedIdentityCredential)
    sign_in(walk, "user-assigned-by-client-id", user, lambda: ManagedIdentityCredential(client_id=user))
    sign_in(walk, "user-assigned-by-object-id", user, lambda: ManagedIdentityCredential(identity_config=by_object))
    sign_in(walk, "user-assigned-by-resource-id", user, lambda: ManagedIdentityCredential(identity_config=by_resource))
    stranger = "00000000-0000-0000-0000-00000000dead"
    refused(walk, "unknown-identity", unknown, lambda: ManagedIdentityCredential(client_id=stranger))
    sign_in(walk, "default-credential", os.environ["WALK_DEFAULT_CLIENT_ID"], DefaultAzureCredential)
