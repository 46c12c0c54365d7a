#!/usr/bin/env bash
# Works, key disabled, key enabled: a large file, encrypted by openssl with a data key: ./example.sh FILE
# Endpoint, region and credentials come from the aws CLI's own environment variables; the key from KEY_ID.
#
# The plaintext data key lives in a file of this script's own folder while openssl runs, never on a command line, where every user could
# read it. It is used as a pass phrase in base64, because openssl reads a pass phrase up to the first newline and a raw key may hold one.
set -euo pipefail
umask 077
file=$1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
context=app=orders,purpose=backup
cipher=(openssl enc -aes-256-ctr -pbkdf2 -iter 10000 -pass "file:$folder/key")

fetch_key() {  # the data key of $file.key, decrypted by the KMS key into $folder/key
  aws kms decrypt --ciphertext-blob "fileb://$file.key" --encryption-context "$context" --query Plaintext --output text > "$folder/key"
}

open_it() {  # decrypts $file.enc and compares it with what it was
  fetch_key
  "${cipher[@]}" -d -in "$file.enc" | cmp - "$file"
  rm "$folder/key"
}

# One call gives the data key twice: in plaintext, and encrypted under the KMS key. Only the second one stays.
aws kms generate-data-key --key-id "$KEY_ID" --key-spec AES_256 --encryption-context "$context" \
  --query '[Plaintext, CiphertextBlob]' --output text > "$folder/both"
cut -f1 "$folder/both" > "$folder/key"
cut -f2 "$folder/both" | base64 -d > "$file.key"
"${cipher[@]}" -in "$file" -out "$file.enc"
rm "$folder/key" "$folder/both"
open_it
echo "works: $(wc -c < "$file.enc") bytes encrypted and decrypted under a data key of $(wc -c < "$file.key") bytes"

aws kms disable-key --key-id "$KEY_ID"
trap 'aws kms enable-key --key-id "$KEY_ID"; rm -rf "$folder"' EXIT
if fetch_key 2> "$folder/refusal"; then
  echo "error: a disabled key opened the data key" >&2
  exit 1
fi
grep -q DisabledException "$folder/refusal" || { cat "$folder/refusal" >&2; exit 1; }
echo "key disabled: $(grep DisabledException "$folder/refusal")"

aws kms enable-key --key-id "$KEY_ID"
trap 'rm -rf "$folder"' EXIT
open_it
echo "key enabled: the old file opens"
