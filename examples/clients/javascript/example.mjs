// Works, key disabled, key enabled: the three steps of examples/clients/README.md with the AWS SDK for JavaScript v3.
// Endpoint, region and credentials come from the SDK's own environment variables; the key from KEY_ID. Nothing here knows Keystead.
// With --wait it leaves it to somebody else to disable and enable the key: a workload should not have the right.

import { createInterface } from "node:readline/promises";

import {
  DecryptCommand, DisabledException, DisableKeyCommand, EnableKeyCommand, EncryptCommand, KMSClient,
} from "@aws-sdk/client-kms";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";

const KeyId = process.env.KEY_ID;
const EncryptionContext = { app: "orders", purpose: "example" };
const message = Buffer.from("the card number of order 1001");
const kms = new KMSClient({});

async function open(CiphertextBlob) {
  const { Plaintext } = await kms.send(new DecryptCommand({ CiphertextBlob, EncryptionContext }));
  if (!message.equals(Plaintext)) throw new Error("another plaintext came back");
}

// Disable or enable the key, or wait until somebody has.
async function change(what, command) {
  if (!process.argv.includes("--wait")) return kms.send(command);
  console.log(`waiting: ${what} the key, then press Enter`);
  const terminal = createInterface({ input: process.stdin });
  await terminal.question("");
  terminal.close();
}

console.log(`caller: ${(await new STSClient({}).send(new GetCallerIdentityCommand({}))).Arn}`);

const { CiphertextBlob } = await kms.send(new EncryptCommand({ KeyId, Plaintext: message, EncryptionContext }));
await open(CiphertextBlob);
console.log(`works: ${CiphertextBlob.length} bytes of ciphertext opened`);

await change("disable", new DisableKeyCommand({ KeyId }));
try {
  await open(CiphertextBlob);
  throw new Error("a disabled key opened the ciphertext");
} catch (error) {
  if (!(error instanceof DisabledException)) throw error;
  console.log(`key disabled: ${error.name}: ${error.message}`);
} finally {
  await change("enable", new EnableKeyCommand({ KeyId }));
}

await open(CiphertextBlob);
console.log("key enabled: the old ciphertext opens");
