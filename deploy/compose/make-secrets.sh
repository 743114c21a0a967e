# Makes what compose.yaml needs to speak encrypted and with tokens: an authority for development, a certificate for each
# role under the names that it has in compose's network, and a token of each kind. Once: what is there stays.
# usage: sh make-secrets.sh [FOLDER]   FOLDER holds learner/, actor/, reward/ and prometheus/
set -eu
umask 077
cd "${1:-/secrets}"
[ ! -e prometheus/ca.pem ] || exit 0
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

give() {  # ROLE TOKEN...: certificate and key of its own, and no more tokens than it needs
  role=$1
  shift
  cp "$made/$role/ca.pem" "$made/$role/server.pem" "$made/$role/server-key.pem" "$role/"
  for token; do cp "$made/learner/$token" "$role/"; done
  chown -R 10001:10001 "$role"
}
give learner token actor-token operator-token read-only-token
give reward token actor-token operator-token read-only-token
give actor actor-token read-only-token

# Who Prometheus' image runs as. The authority last: a run of this that was cut short is made anew.
cp "$made/learner/read-only-token" prometheus/metrics_token
cp "$made/learner/ca.pem" prometheus/ca.pem.new
chown -R 65534:65534 prometheus
mv prometheus/ca.pem.new prometheus/ca.pem
