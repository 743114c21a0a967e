# Makes what compose.yaml needs to speak encrypted and with tokens: an authority for development, a certificate for each
# role under the names that it has in compose's network, and tokens. Once: what is there stays.
# usage: sh make-secrets.sh [FOLDER]   FOLDER holds learner/, actor/, reward/ and prometheus/
set -eu
umask 077
cd "${1:-/secrets}"
[ ! -e prometheus/ca.pem ] || exit 0
made=$(mktemp -d)
trap 'rm -rf "$made"' EXIT

curve="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
# shellcheck disable=SC2086
openssl req -x509 $curve -days 3650 -subj "/CN=FlowAWR development authority" -keyout "$made/ca.key" -out "$made/ca.pem" 2>/dev/null
certify() {  # ROLE NAME...
  role=$1 names=DNS:localhost,IP:127.0.0.1,IP:::1
  shift
  for name; do names="$names,DNS:$name"; done
  # shellcheck disable=SC2086
  openssl req $curve -subj "/CN=$1" -keyout "$role/key.pem" -out "$made/$role.csr" 2>/dev/null
  printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth,clientAuth\n' "$names" > "$made/$role.ext"
  openssl x509 -req -in "$made/$role.csr" -CA "$made/ca.pem" -CAkey "$made/ca.key" -days 825 -extfile "$made/$role.ext" \
    -out "$role/cert.pem" 2>/dev/null
}
certify learner learner
certify actor actor
certify reward reward-a reward-b

for token in token actor_token operator_token read_only_token; do openssl rand -hex 32 > "$made/$token"; done
cp "$made/token" "$made/actor_token" "$made/operator_token" "$made/read_only_token" learner/
cp "$made/token" "$made/actor_token" "$made/operator_token" "$made/read_only_token" reward/
cp "$made/actor_token" "$made/read_only_token" actor/
cp "$made/read_only_token" prometheus/metrics_token
for role in learner actor reward; do
  cp "$made/ca.pem" "$role/ca.pem"
  chown -R 10001:10001 "$role"
done
chown -R 65534:65534 prometheus  # who Prometheus' image runs as
cp "$made/ca.pem" prometheus/ca.pem.new
chown 65534:65534 prometheus/ca.pem.new
mv prometheus/ca.pem.new prometheus/ca.pem  # last: a run of this that was cut short is made anew
