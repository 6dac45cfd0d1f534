// Reads one secret with the Azure SDK as it comes: default options, no mention of Airlock.
import { DefaultAzureCredential } from "@azure/identity";
import { SecretClient } from "@azure/keyvault-secrets";

const name = process.argv[2];
const client = new SecretClient(process.env.AIRLOCK_VAULT_URL, new DefaultAzureCredential());
const secret = await client.getSecret(name);
console.log(`read ${name}: ${Buffer.byteLength(secret.value ?? "")} bytes, version ${secret.properties.version}`);
