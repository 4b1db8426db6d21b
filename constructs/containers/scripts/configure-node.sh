# Makes the folders on the node's disk and writes octez-node's configuration anew at each start.
# Arguments: those of `octez-node config init`. The identity and the chain data stay.
umask 027
mkdir -p "$TOG_NODE_DIR" "$TOG_CLIENT_DIR" "$TOG_STATE_DIR"
rm -f "$TOG_NODE_DIR/config.json"
exec octez-node config init --data-dir "$TOG_NODE_DIR" "$@"
