# Runs octez-node below this shell, which as process 1 of the container reaps whatever loses its parent: octez-node waits for
# its own children only. Arguments: those of octez-node. SIGTERM and SIGINT are handed on; the exit code is octez-node's.
node=
stopping=
hand_on() {
  stopping=1
  [ -z "$node" ] || kill -TERM "$node" 2>/dev/null || :
}
trap hand_on TERM INT
octez-node "$@" &
node=$!
[ -z "$stopping" ] || hand_on
# A signal ends a `wait`, and octez-node may go on: it closes its store for seconds.
while :; do
  code=0
  wait "$node" || code=$?
  [ "$code" -gt 128 ] || break
  if ! kill -0 "$node" 2>/dev/null; then
    # Where the signal and the end came together, the code was the signal's; the shell still has the other one, or none (127).
    again=0
    wait "$node" || again=$?
    [ "$again" -eq 127 ] && [ -z "$stopping" ] || code=$again
    break
  fi
done
exit "$code"
