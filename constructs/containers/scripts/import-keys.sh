# Writes the Octez client's files for keys that a signer holds. Nothing secret passes through but the key with which the baker
# authenticates itself to the signer, and that goes from file to file.
# Arguments: the JSON of public_key_hashs, of public_keys and of secret_keys; name of the authentication key's secret file ("" = none).
umask 077
secret_keys=$3
if [ -n "$4" ]; then
  IFS= read -r key <"$TOG_SECRETS_DIR/$4" || [ -n "$key" ]
  secret_keys="$(printf '%s' "$secret_keys" | sed 's/]$//'),{\"name\":\"authentication\",\"value\":\"$key\"}]"
fi
write() {
  printf '%s\n' "$2" >"$TOG_CLIENT_DIR/$1.new"
  mv "$TOG_CLIENT_DIR/$1.new" "$TOG_CLIENT_DIR/$1"
}
write public_key_hashs "$1"
write public_keys "$2"
write secret_keys "$secret_keys"
