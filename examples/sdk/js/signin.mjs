// Every way to sign in that needs no person.
import {
  ClientCertificateCredential,
  ClientSecretCredential,
  DefaultAzureCredential,
  ManagedIdentityCredential,
  WorkloadIdentityCredential,
} from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

import { differ } from "./steps.mjs";

const scope = "https://vault.azure.net/.default";
const env = process.env;

// signIn is a step that signs in, looks whom the token speaks for, and shows it to the vault.
const signIn = (walk, step, clientID, login) =>
  walk.step(step, async () => {
    const credential = login();
    const { token } = await credential.getToken(scope);
    const client = new SecretClient(walk.vaultURL, credential);
    await client.listPropertiesOfSecrets().byPage().next();
    differ({ "who is signed in": !!clientID && appID(token) === clientID });
  });

// refused is a step whose login must fail for the reason.
const refused = (walk, step, reason, login) =>
  walk.step(step, async () => {
    let said = "";
    try {
      await login().getToken(scope);
    } catch (error) {
      said = error.message;
    }
    differ({ [`the refusal ${reason}`]: said.includes(reason) });
  });

// appID reads the claim of an access token that says for which client it speaks. Programs have no business to look into
// tokens; this one does, because the SDK does not tell which identity a credential found.
const appID = (token) => JSON.parse(Buffer.from(token.split(".")[1], "base64url").toString()).appid;

const byDefault = () => new DefaultAzureCredential();

export async function inApp(walk) {
  const withSecret = (secret) => () => new ClientSecretCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, secret);
  await signIn(walk, "client-secret", env.AZURE_CLIENT_ID, withSecret(env.AZURE_CLIENT_SECRET));
  await refused(walk, "wrong-client-secret", "AADSTS7000215", withSecret("not-the-secret"));
  await signIn(walk, "default-credential", env.AZURE_CLIENT_ID, byDefault);
  return byDefault();
}

export async function withCertificate(walk) {
  const certificatePath = env.AZURE_CLIENT_CERTIFICATE_PATH;
  const by = (options) => () =>
    new ClientCertificateCredential(env.AZURE_TENANT_ID, env.AZURE_CLIENT_ID, { certificatePath }, options);
  await signIn(walk, "client-certificate", env.AZURE_CLIENT_ID, by());
  await signIn(walk, "client-certificate-chain", env.AZURE_CLIENT_ID, by({ sendCertificateChain: true }));
  await signIn(walk, "default-credential", env.AZURE_CLIENT_ID, byDefault);
}

export async function inPod(walk) {
  await signIn(walk, "workload-identity", env.AZURE_CLIENT_ID, () => new WorkloadIdentityCredential());
  await signIn(walk, "managed-identity", env.AZURE_CLIENT_ID, () => new ManagedIdentityCredential());
  await signIn(walk, "default-credential", env.AZURE_CLIENT_ID, byDefault);
}

// withManagedIdentity goes by the refusal of an identity that the machine has not got: each source has its own.
export async function withManagedIdentity(walk, unknown) {
  const by = (options) => () => new ManagedIdentityCredential(options);
  const user = env.WALK_USER_CLIENT_ID;
  await signIn(walk, "system-assigned", env.WALK_SYSTEM_CLIENT_ID, by());
  await signIn(walk, "user-assigned-by-client-id", user, by({ clientId: user }));
  await signIn(walk, "user-assigned-by-object-id", user, by({ objectId: env.WALK_USER_OBJECT_ID }));
  await signIn(walk, "user-assigned-by-resource-id", user, by({ resourceId: env.WALK_USER_RESOURCE_ID }));
  await refused(walk, "unknown-identity", unknown, by({ clientId: "00000000-0000-0000-0000-00000000dead" }));
  await signIn(walk, "default-credential", env.WALK_DEFAULT_CLIENT_ID, byDefault);
}
