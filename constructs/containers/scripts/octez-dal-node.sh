# Runs the DAL node with the public address of this pod. Arguments: "POD=HOST:PORT ..." and then those of octez-dal-node.
addresses=$1
shift
for word in $addresses; do
  case $word in
    "$TOG_POD_NAME=:"*) ;; # its load balancer has no address yet
    "$TOG_POD_NAME="*) set -- "$@" --public-addr "$(printf '%s' "$word" | cut -d = -f 2-)" ;;
  esac
done
exec octez-dal-node "$@"
