// Walks through Azure Key Vault with Microsoft's JavaScript SDK as it comes: default options, and no mention of Airlock
// but the vault's URL. ../README.md says what each step is.
import { secrets } from "./secrets.mjs";
import { inApp, inPod, withCertificate, withManagedIdentity } from "./signin.mjs";
import { Walk } from "./steps.mjs";

// The kinds of machines that a program may find itself on, told from one another by the environment.
const places = {
  app: async (walk) => secrets(walk, await inApp(walk)),
  certificate: withCertificate,
  pod: inPod,
  vm: (walk) => withManagedIdentity(walk, "Identity not found"),
  "app-service": (walk) => withManagedIdentity(walk, "No User Assigned or Delegated Managed Identity found"),
};

const vaultURL = process.env.AIRLOCK_VAULT_URL;
const place = process.argv.length === 3 && Object.hasOwn(places, process.argv[2]) && places[process.argv[2]];
if (!place || !vaultURL) {
  console.error(`usage: AIRLOCK_VAULT_URL=https://VAULT.vault.azure.net/ node walk.mjs ${Object.keys(places).join("|")}`);
  process.exit(1);
}
const walk = new Walk(vaultURL);
try {
  await place(walk);
  console.log(`${walk.passed} steps passed`);
} catch (error) {
  console.error(`FAIL ${error.message}`);
  process.exitCode = 1;
}
