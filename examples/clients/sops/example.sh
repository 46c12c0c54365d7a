#!/usr/bin/env bash
# Works, key disabled, key enabled: the three steps of examples/clients/README.md with SOPS and the aws CLI.
# Endpoint, region and credentials come from the environment variables of the AWS SDK inside SOPS; the key's ARN from KEY_ID.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

sops encrypt --kms "$KEY_ID" --encryption-context app:orders,purpose:example secrets.yaml > "$folder/secrets.enc.yaml"
if grep -q "not-a-real-password" "$folder/secrets.enc.yaml"; then
  echo "error: the password is readable" >&2
  exit 1
fi
sops decrypt "$folder/secrets.enc.yaml" | cmp - secrets.yaml
echo "works: $(grep -c 'ENC\[' "$folder/secrets.enc.yaml") values encrypted and decrypted"

aws kms disable-key --key-id "$KEY_ID"
trap 'aws kms enable-key --key-id "$KEY_ID"; rm -rf "$folder"' EXIT
if sops decrypt "$folder/secrets.enc.yaml" > "$folder/opened" 2> "$folder/refusal"; then
  echo "error: a disabled key opened the file" >&2
  exit 1
fi
refusal=$(tr '\n|' '  ' < "$folder/refusal" | tr -s ' ' | grep -o 'DisabledException.*disabled') || { cat "$folder/refusal" >&2; exit 1; }
echo "key disabled: $refusal"

aws kms enable-key --key-id "$KEY_ID"
trap 'rm -rf "$folder"' EXIT
sops decrypt "$folder/secrets.enc.yaml" | cmp - secrets.yaml
echo "key enabled: the old file opens"
