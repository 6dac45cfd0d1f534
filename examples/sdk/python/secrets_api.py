"""All that can be done with secrets."""

import uuid
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta

from azure.core.credentials import TokenCredential
from azure.core.exceptions import HttpResponseError
from azure.keyvault.secrets import KeyVaultSecret, SecretClient, SecretProperties

from steps import Walk, differ

MANY = 30  # more than a page
PAGE_SIZE = 25  # of Key Vault
FIRST_VALUE, SECOND_VALUE = "first välue\nwith two lines", "second"


def secrets(walk: Walk, credential: TokenCredential) -> None:
    """Walks through the whole API. What it makes has names of its own, and is purged at the end."""
    with credential, SecretClient(walk.vault_url, credential) as client:
        for name, do in _Secrets(client).steps():
            walk.step(name, do)


class _Secrets:
    def __init__(self, client: SecretClient) -> None:
        self.client = client
        self.prefix = f"walk-python-{uuid.uuid4().hex[:8]}"
        self.name = f"{self.prefix}-one"
        self.versioned = f"{self.prefix}-versions"
        self.listed = [f"{self.prefix}-list-{n:02}" for n in range(MANY)]
        now = datetime.now(UTC).replace(microsecond=0)
        self.not_before, self.expires_on = now - timedelta(hours=1), now + timedelta(days=1)
        self.first: KeyVaultSecret
        self.second: KeyVaultSecret
        self.saved: bytes

    def steps(self) -> Iterable[tuple[str, Callable[[], None]]]:
        return [
            ("set", self.set_first),
            ("get", self.get),
            ("set-again", self.set_again),
            ("get-version", self.get_version),
            ("update", self.update),
            ("update-version", self.update_version),
            ("disabled", self.disabled),
            ("not-found", self.not_found),
            ("bad-name", self.bad_name),
            ("list", self.list_secrets),
            ("list-versions", self.list_versions),
            ("delete", self.delete),
            ("get-deleted", self.get_deleted),
            ("set-deleted", self.set_deleted),
            ("recover", self.recover),
            ("backup", self.backup),
            ("purge", self.purge),
            ("restore", self.restore),
            ("list-deleted", self.list_deleted),
            ("clean-up", self.clean_up),
        ]

    def set_first(self) -> None:
        self.first = self.client.set_secret(
            self.name,
            FIRST_VALUE,
            content_type="text/plain",
            tags={"one": "1", "two": "2"},
            enabled=True,
            not_before=self.not_before,
            expires_on=self.expires_on,
        )
        properties = self.first.properties
        differ(
            name=self.first.name == self.name,
            version=len(properties.version or "") == 32,
            value=self.first.value == FIRST_VALUE,
            content_type=properties.content_type == "text/plain",
            tags=properties.tags == {"one": "1", "two": "2"},
            enabled=properties.enabled is True,
            not_before=properties.not_before == self.not_before,
            expires=properties.expires_on == self.expires_on,
            created=abs(properties.created_on - datetime.now(UTC)) < timedelta(minutes=1),
            recovery_level=(properties.recovery_level or "").startswith("Recoverable"),
        )

    def get(self) -> None:
        got = self.client.get_secret(self.name)
        differ(
            id=got.id == self.first.id,
            value=got.value == FIRST_VALUE,
            content_type=got.properties.content_type == "text/plain",
            tags=got.properties.tags == {"one": "1", "two": "2"},
            not_before=got.properties.not_before == self.not_before,
            expires=got.properties.expires_on == self.expires_on,
        )

    def set_again(self) -> None:
        self.second = self.client.set_secret(self.name, SECOND_VALUE)
        differ(
            a_new_version=self.second.properties.version != self.first.properties.version,
            no_content_type=self.second.properties.content_type is None,
            no_tags=not self.second.properties.tags,
        )

    def get_version(self) -> None:
        for version, want in [
            (self.first.properties.version, FIRST_VALUE),
            (self.second.properties.version, SECOND_VALUE),
            (None, SECOND_VALUE),
        ]:
            differ(value=self.client.get_secret(self.name, version).value == want)

    def update(self) -> None:
        updated = self.client.update_secret_properties(self.name, content_type="application/json", tags={"three": "3"})
        differ(
            version=updated.id == self.second.id,
            content_type=updated.content_type == "application/json",
            tags=updated.tags == {"three": "3"},
            enabled=updated.enabled is True,
        )

    def update_version(self) -> None:
        updated = self.client.update_secret_properties(self.name, self.first.properties.version, enabled=False)
        differ(
            version=updated.id == self.first.id,
            disabled=updated.enabled is False,
            content_type=updated.content_type == "text/plain",
            not_before=updated.not_before == self.not_before,
            expires=updated.expires_on == self.expires_on,
        )

    def disabled(self) -> None:
        refusal(403, "Forbidden", lambda: self.client.get_secret(self.name, self.first.properties.version))

    def not_found(self) -> None:
        refusal(404, "SecretNotFound", lambda: self.client.get_secret(f"{self.prefix}-nothing"))

    def bad_name(self) -> None:
        refusal(400, "BadParameter", lambda: self.client.get_secret("under_score"))

    def list_secrets(self) -> None:
        for name in self.listed:
            self.client.set_secret(name, name)
        found = paged(self.client.list_properties_of_secrets().by_page())
        differ(what_is_listed=self.own(found) == self.listed)

    def list_versions(self) -> None:
        versions = [self.client.set_secret(self.versioned, str(n)).properties.version for n in range(MANY)]
        found = paged(self.client.list_properties_of_secret_versions(self.versioned).by_page())
        differ(what_is_listed=sorted(item.version for item in found) == sorted(versions))

    def delete(self) -> None:
        poller = self.client.begin_delete_secret(self.name)
        deleted = poller.result()
        poller.wait()
        differ(id=deleted.id == self.second.id, content_type=deleted.properties.content_type == "application/json")

    def get_deleted(self) -> None:
        refusal(404, "SecretNotFound", lambda: self.client.get_secret(self.name))
        deleted = self.client.get_deleted_secret(self.name)
        days = deleted.properties.recoverable_days or 0
        differ(
            id=deleted.id == self.second.id,
            recovery_id=(deleted.recovery_id or "").endswith(f"/deletedsecrets/{self.name}"),
            date_of_the_purge=days >= 7 and deleted.scheduled_purge_date - deleted.deleted_date == timedelta(days=days),
        )

    def set_deleted(self) -> None:
        refusal(409, "Conflict", lambda: self.client.set_secret(self.name, "third"))

    def recover(self) -> None:
        poller = self.client.begin_recover_deleted_secret(self.name)
        recovered = poller.result()
        poller.wait()
        got = self.client.get_secret(self.name)
        differ(
            id=recovered.id == self.second.id == got.id,
            value=got.value == SECOND_VALUE,
            tags=got.properties.tags == {"three": "3"},
        )

    def backup(self) -> None:
        self.saved = self.client.backup_secret(self.name)
        differ(a_backup=len(self.saved) > 0, a_backup_that_shows_no_value=SECOND_VALUE.encode() not in self.saved)

    def purge(self) -> None:
        self.client.begin_delete_secret(self.name).wait()
        self.client.purge_deleted_secret(self.name)
        refusal(404, "SecretNotFound", lambda: self.client.get_deleted_secret(self.name))

    def restore(self) -> None:
        restored = self.client.restore_secret_backup(self.saved)
        got = self.client.get_secret(self.name)
        refusal(403, "Forbidden", lambda: self.client.get_secret(self.name, self.first.properties.version))
        differ(
            id=restored.id == self.second.id == got.id,
            value=got.value == SECOND_VALUE,
            content_type=got.properties.content_type == "application/json",
            created=got.properties.created_on == self.second.properties.created_on,
        )

    def list_deleted(self) -> None:
        for poller in [self.client.begin_delete_secret(name) for name in self.listed]:
            poller.wait()
        found = paged(self.client.list_deleted_secrets().by_page())
        differ(what_is_listed=self.own(found) == self.listed)

    def clean_up(self) -> None:
        for name in (self.name, self.versioned):
            self.client.begin_delete_secret(name).wait()
        for name in (self.name, self.versioned, *self.listed):
            self.client.purge_deleted_secret(name)
        refusal(404, "SecretNotFound", lambda: self.client.get_deleted_secret(self.versioned))

    def own(self, items: Iterable[SecretProperties]) -> list[str]:
        """The sorted names of the listed secrets that are ours: the vault may hold others."""
        return sorted(item.name for item in items if item.name.startswith(f"{self.prefix}-list-"))


def refusal(status: int, code: str, do: Callable[[], object]) -> None:
    """Fails unless the vault refuses with this status and code."""
    try:
        do()
    except HttpResponseError as error:
        differ(
            **{
                f"status_{status}": error.status_code == status,
                f"code_{code}": bool(error.error) and error.error.code == code,
            }
        )
    else:
        differ(**{f"a_refusal,_{status}": False})


def paged(pages: Iterable[Iterable]) -> list:
    """All items of a list, which must have more than one page and none too long."""
    read = [list(page) for page in pages]
    differ(more_than_one_page=len(read) > 1, length_of_pages=all(len(page) <= PAGE_SIZE for page in read))
    return [item for page in read for item in page]
