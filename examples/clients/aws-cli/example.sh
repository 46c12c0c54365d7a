#!/usr/bin/env bash
# Works, key disabled, key enabled: the three steps of examples/clients/README.md with the aws CLI.
# Endpoint, region and credentials come from the CLI's own environment variables; the key from KEY_ID.
set -euo pipefail
umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
context=app=orders,purpose=example
printf 'the card number of order 1001' > "$folder/message"

open_it() {  # decrypts $folder/ciphertext to stdout
  aws kms decrypt --ciphertext-blob "fileb://$folder/ciphertext" --encryption-context "$context" --query Plaintext --output text | base64 -d
}

printf 'caller: %s\n' "$(aws sts get-caller-identity --query Arn --output text)"
aws kms encrypt --key-id "$KEY_ID" --plaintext "fileb://$folder/message" --encryption-context "$context" \
  --query CiphertextBlob --output text | base64 -d > "$folder/ciphertext"
open_it | cmp - "$folder/message"
echo "works: $(wc -c < "$folder/ciphertext") bytes of ciphertext opened"

aws kms disable-key --key-id "$KEY_ID"
trap 'aws kms enable-key --key-id "$KEY_ID"; rm -rf "$folder"' EXIT
if open_it > "$folder/opened" 2> "$folder/refusal"; then
  echo "error: a disabled key opened the ciphertext" >&2
  exit 1
fi
grep -q DisabledException "$folder/refusal" || { cat "$folder/refusal" >&2; exit 1; }
echo "key disabled: $(grep DisabledException "$folder/refusal")"

aws kms enable-key --key-id "$KEY_ID"
trap 'rm -rf "$folder"' EXIT
open_it | cmp - "$folder/message"
echo "key enabled: the old ciphertext opens"
