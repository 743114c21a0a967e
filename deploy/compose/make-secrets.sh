# Makes what compose.yaml needs to speak encrypted and with tokens: an authority for development, a certificate for each
# role under the names that it has in compose's network, and a token of each kind. Once: what is there stays, but with
# --renew all is made anew; processes that run take it by themselves.
# usage: sh make-secrets.sh [FOLDER [--renew]]   FOLDER holds learner/, actor/, reward/ and prometheus/
set -eu
umask 077
cd "${1:-/secrets}"
[ ! -e prometheus/ca.pem ] || [ "${2:-}" = --renew ] || exit 0
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

# One authority; its key stays behind in $made, which is removed.
flowawr certs "$made/learner" --host learner --tokens >"$made/log"
for role in actor reward; do
  mkdir "$made/$role"
  cp "$made/learner/ca.pem" "$made/learner/ca-key.pem" "$made/$role"
done
flowawr certs "$made/actor" --host actor >>"$made/log"
flowawr certs "$made/reward" --host reward-a --host reward-b >>"$made/log"

put() {  # FILE TARGET OWNER: replaced whole
  cp "$1" "$2.new"
  chown "$3:$3" "$2.new"
  mv "$2.new" "$2"
}
give() {  # ROLE TOKEN...: certificate and key of its own, and no more tokens than it needs
  role=$1
  shift
  chown 10001:10001 "$role"
  for file in ca.pem server.pem server-key.pem; do put "$made/$role/$file" "$role/$file" 10001; done
  for token; do put "$made/learner/$token" "$role/$token" 10001; done
}
give learner token actor-token operator-token read-only-token
give reward token actor-token operator-token read-only-token
give actor actor-token read-only-token

# Who Prometheus' image runs as. The authority last: a run of this that was cut short is made anew.
chown 65534:65534 prometheus
put "$made/learner/read-only-token" prometheus/metrics_token 65534
put "$made/learner/ca.pem" prometheus/ca.pem 65534
