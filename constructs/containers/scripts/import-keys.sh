# Writes the Octez client's files for keys that a signer holds. Nothing secret passes through but the key with which the baker
# authenticates itself to the signer, and that goes from file to file.
# Arguments: the JSON of public_key_hashs, of public_keys and of secret_keys; name of the authentication key's secret file ("" = none).
umask 077
secret_keys=$3
if [ -n "$4" ]; then
  IFS= read -r key <"$TOG_SECRETS_DIR/$4" || [ -n "$key" ]
  secret_keys="$(printf '%s' "$secret_keys" | sed 's/]$//'),{\"name\":\"authentication\",\"value\":\"$key\"}]"
fi
# octez-baker writes the public keys that it has learnt into public_keys, and does not start without one of them: what is
# known of an address stays, so that a start depends on no device whose key it knows.
public_keys=$2
learnt=
[ ! -f "$TOG_CLIENT_DIR/public_keys" ] || learnt=$(tr -d ' \n\t' <"$TOG_CLIENT_DIR/public_keys")
for locator in $(printf '%s\n' "$public_keys" | tr '"' '\n' | grep '^remote:'); do
  known=$(printf '%s\n' "$learnt" | sed -n "s/.*{\"locator\":\"$locator\",\"key\":\"\([0-9A-Za-z]*\)\"}.*/\1/p")
  [ -z "$known" ] || public_keys=$(printf '%s\n' "$public_keys" |
    sed "s/\"value\":\"$locator\"/\"value\":{\"locator\":\"$locator\",\"key\":\"$known\"}/")
done
write() {
  printf '%s\n' "$2" >"$TOG_CLIENT_DIR/$1.new"
  mv "$TOG_CLIENT_DIR/$1.new" "$TOG_CLIENT_DIR/$1"
}
write public_key_hashs "$1"
write public_keys "$public_keys"
write secret_keys "$secret_keys"
