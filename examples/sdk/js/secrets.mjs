// All that can be done with secrets.
import { randomUUID } from "node:crypto";
import { isDeepStrictEqual as same } from "node:util";

import { SecretClient } from "@azure/keyvault-secrets";

import { differ } from "./steps.mjs";

const many = 30; // more than a page
const pageSize = 25; // of Key Vault
const firstValue = "first välue\nwith two lines";
const secondValue = "second";
const hour = 3600 * 1000;

// secrets walks through the whole API. What it makes has names of its own, and is purged at the end.
export async function secrets(walk, credential) {
  const client = new SecretClient(walk.vaultURL, credential);
  const prefix = `walk-js-${randomUUID().slice(0, 8)}`;
  const name = `${prefix}-one`;
  const versioned = `${prefix}-versions`;
  const listed = Array.from({ length: many }, (_, n) => `${prefix}-list-${String(n).padStart(2, "0")}`);
  // The sorted names of the listed secrets that are ours: the vault may hold others.
  const own = (items) => items.map((item) => item.name).filter((n) => n.startsWith(`${prefix}-list-`)).sort();
  const now = Math.floor(Date.now() / 1000) * 1000;
  const notBefore = new Date(now - hour);
  const expiresOn = new Date(now + 24 * hour);
  let first, second, backup;

  const steps = {
    set: async () => {
      first = await client.setSecret(name, firstValue, {
        contentType: "text/plain", tags: { one: "1", two: "2" }, enabled: true, notBefore, expiresOn,
      });
      const p = first.properties;
      differ({
        name: first.name === name,
        version: p.version?.length === 32,
        value: first.value === firstValue,
        "content type": p.contentType === "text/plain",
        tags: same({ ...p.tags }, { one: "1", two: "2" }),
        enabled: p.enabled,
        "not before": same(p.notBefore, notBefore),
        expires: same(p.expiresOn, expiresOn),
        created: Math.abs(p.createdOn - Date.now()) < hour / 60,
        "recovery level": p.recoveryLevel.startsWith("Recoverable"),
      });
    },
    get: async () => {
      const got = await client.getSecret(name);
      differ({
        id: got.properties.id === first.properties.id,
        value: got.value === firstValue,
        "content type": got.properties.contentType === "text/plain",
        tags: same({ ...got.properties.tags }, { one: "1", two: "2" }),
        "not before": same(got.properties.notBefore, notBefore),
        expires: same(got.properties.expiresOn, expiresOn),
      });
    },
    "set-again": async () => {
      second = await client.setSecret(name, secondValue);
      differ({
        "a new version": second.properties.version !== first.properties.version,
        "no content type": second.properties.contentType === undefined,
        "no tags": Object.keys(second.properties.tags ?? {}).length === 0,
      });
    },
    "get-version": async () => {
      for (const [version, want] of [
        [first.properties.version, firstValue], [second.properties.version, secondValue], [undefined, secondValue],
      ]) {
        differ({ value: (await client.getSecret(name, { version })).value === want });
      }
    },
    update: async () => {
      const updated = await client.updateSecretProperties(name, "", {
        contentType: "application/json", tags: { three: "3" },
      });
      differ({
        version: updated.id === second.properties.id,
        "content type": updated.contentType === "application/json",
        tags: same({ ...updated.tags }, { three: "3" }),
        enabled: updated.enabled,
      });
    },
    "update-version": async () => {
      const updated = await client.updateSecretProperties(name, first.properties.version, { enabled: false });
      differ({
        version: updated.id === first.properties.id,
        disabled: updated.enabled === false,
        "content type": updated.contentType === "text/plain",
        "not before": same(updated.notBefore, notBefore),
        expires: same(updated.expiresOn, expiresOn),
      });
    },
    disabled: () => refusal(403, "Forbidden", client.getSecret(name, { version: first.properties.version })),
    "not-found": () => refusal(404, "SecretNotFound", client.getSecret(`${prefix}-nothing`)),
    "bad-name": () => refusal(400, "BadParameter", client.getSecret("under_score")),
    list: async () => {
      for (const n of listed) {
        await client.setSecret(n, n);
      }
      const found = await paged(client.listPropertiesOfSecrets().byPage());
      differ({ "what is listed": same(own(found), listed) });
    },
    "list-versions": async () => {
      const versions = [];
      for (let n = 0; n < many; n++) {
        versions.push((await client.setSecret(versioned, String(n))).properties.version);
      }
      const found = await paged(client.listPropertiesOfSecretVersions(versioned).byPage());
      differ({ "what is listed": same(found.map((item) => item.version).sort(), versions.sort()) });
    },
    delete: async () => {
      const poller = await client.beginDeleteSecret(name);
      const deleted = await poller.pollUntilDone();
      differ({
        id: deleted.properties.id === second.properties.id,
        "content type": deleted.properties.contentType === "application/json",
      });
    },
    "get-deleted": async () => {
      await refusal(404, "SecretNotFound", client.getSecret(name));
      const { properties: p } = await client.getDeletedSecret(name);
      differ({
        id: p.id === second.properties.id,
        "recovery id": p.recoveryId.endsWith(`/deletedsecrets/${name}`),
        "date of the purge":
          p.recoverableDays >= 7 && p.scheduledPurgeDate - p.deletedOn === p.recoverableDays * 24 * hour,
      });
    },
    "set-deleted": () => refusal(409, "Conflict", client.setSecret(name, "third")),
    recover: async () => {
      const recovered = await (await client.beginRecoverDeletedSecret(name)).pollUntilDone();
      const got = await client.getSecret(name);
      differ({
        id: recovered.id === second.properties.id && got.properties.id === second.properties.id,
        value: got.value === secondValue,
        tags: same({ ...got.properties.tags }, { three: "3" }),
      });
    },
    backup: async () => {
      backup = await client.backupSecret(name);
      differ({
        "a backup": backup.length > 0,
        "a backup that shows no value": !Buffer.from(backup).includes(secondValue),
      });
    },
    purge: async () => {
      await (await client.beginDeleteSecret(name)).pollUntilDone();
      await client.purgeDeletedSecret(name);
      await refusal(404, "SecretNotFound", client.getDeletedSecret(name));
    },
    restore: async () => {
      const restored = await client.restoreSecretBackup(backup);
      const got = await client.getSecret(name);
      await refusal(403, "Forbidden", client.getSecret(name, { version: first.properties.version }));
      differ({
        id: restored.id === second.properties.id && got.properties.id === second.properties.id,
        value: got.value === secondValue,
        "content type": got.properties.contentType === "application/json",
        created: same(got.properties.createdOn, second.properties.createdOn),
      });
    },
    "list-deleted": async () => {
      const pollers = [];
      for (const n of listed) {
        pollers.push(await client.beginDeleteSecret(n));
      }
      await Promise.all(pollers.map((poller) => poller.pollUntilDone()));
      const found = await paged(client.listDeletedSecrets().byPage());
      differ({ "what is listed": same(own(found), listed) });
    },
    "clean-up": async () => {
      for (const n of [name, versioned]) {
        await (await client.beginDeleteSecret(n)).pollUntilDone();
      }
      for (const n of [name, versioned, ...listed]) {
        await client.purgeDeletedSecret(n);
      }
      await refusal(404, "SecretNotFound", client.getDeletedSecret(versioned));
    },
  };
  for (const [step, run] of Object.entries(steps)) {
    await walk.step(step, run);
  }
}

// refusal fails unless the vault refuses with this status and code.
async function refusal(status, code, answer) {
  let error;
  try {
    await answer;
  } catch (caught) {
    error = caught;
  }
  differ({
    [`a refusal, ${status}`]: error !== undefined,
    [`status ${status}`]: error?.statusCode === status,
    [`code ${code}`]: error?.code === code,
  });
}

// paged gathers all items of a list, which must have more than one page and none too long.
async function paged(pages) {
  const read = [];
  for await (const page of pages) {
    read.push(page);
  }
  differ({ "more than one page": read.length > 1, "length of pages": read.every((page) => page.length <= pageSize) });
  return read.flat();
}
