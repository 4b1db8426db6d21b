# Fills an empty node from a snapshot and checks the imported block's hash.
# Arguments: URL of the snapshot ("" = none: synchronize from the first block), hash of its block ("" = the one that URL.html publishes now).
# Resumes a broken download, begins anew after a broken import, does nothing where the node has data.
umask 027
url=$1 hash=$2
# A mount: it is emptied, never removed.
folder=$TOG_STATE_DIR/snapshot
marker=$folder/importing
say() { printf '{"level":"%s","daemon":"import-snapshot","event":"%s","reason":"%s"}\n' "$1" "$2" "$3"; }

mkdir -p "$folder"
if [ -e "$marker" ]; then
  say warn unfinished "the last import did not end: its data are removed"
  rm -rf "$TOG_NODE_DIR/store" "$TOG_NODE_DIR/context" "$TOG_NODE_DIR/daily_logs" "$TOG_NODE_DIR/lock"
elif [ -e "$TOG_NODE_DIR/store" ] || [ -e "$TOG_NODE_DIR/context" ]; then
  say info skipped "the node has data"
  find "$folder" -type f -exec rm -f {} +
  exit 0
fi
if [ -z "$url" ]; then
  say info skipped "no snapshot is configured: the node synchronizes from the first block"
  exit 0
fi
if [ -z "$hash" ]; then
  hash=$(wget -q -T 30 -O - "$url.html" | grep -oE 'B[KLM][1-9A-HJ-NP-Za-km-z]{49}' | head -n 1)
  if [ -z "$hash" ]; then
    say error no-hash "$url.html must show the block hash of the snapshot; otherwise set the block hash of the snapshot in the configuration"
    exit 1
  fi
fi

# The hash names the file, so that a part of one snapshot is never continued with another.
file=$folder/$hash
find "$folder" -type f ! -name "$hash*" ! -name importing -exec rm -f {} +
attempt=0
until [ -e "$file" ]; do
  attempt=$((attempt + 1))
  say info download "attempt $attempt of $url for block $hash"
  if wget -q -c -T 60 -O "$file.part" "$url"; then
    mv "$file.part" "$file"
  elif [ "$attempt" -ge 30 ]; then
    rm -f "$file.part"
    say error download "30 attempts failed: the next start begins anew"
    exit 1
  else
    sleep 10
  fi
done

: >"$marker"
status=0
octez-node snapshot import "$file" --block "$hash" --data-dir "$TOG_NODE_DIR" || status=$?
if [ "$status" -ne 0 ]; then
  # Killed (out of memory, evicted): the file is good. Anything else: it may not be.
  [ "$status" -gt 128 ] || rm -f "$file"
  say error import "octez-node ended with $status"
  exit 1
fi
find "$folder" -type f -exec rm -f {} +
say info imported "block $hash"
