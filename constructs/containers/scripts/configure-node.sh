# Writes octez-node's configuration anew at each start.
# Arguments: those of `octez-node config init`. The identity and the chain data stay.
umask 027
rm -f "$TOG_NODE_DIR/config.json"
exec octez-node config init --data-dir "$TOG_NODE_DIR" "$@"
