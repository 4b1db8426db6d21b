# Runs octez-signer with the keys of a mounted secret, one file per key: named like its address, "unencrypted:edsk..." inside.
# Arguments: folder of the keys, the signer's folder, and then the arguments of octez-signer.
# Octez derives the public keys at import only, and takes the key only as an argument: nobody but this pod's processes can see it.
umask 077
keys=$1 base=$2
shift 2
for file in "$keys"/tz*; do
  IFS= read -r key <"$file" || [ -n "$key" ]
  octez-signer --base-dir "$base" import secret key "$(basename "$file")" "$key" --force
done
exec octez-signer --base-dir "$base" "$@"
