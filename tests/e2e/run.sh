#!/bin/sh
# The steps of the page "Run a Replicated Stateful Application", on the cluster that kubectl points to: `make e2e`.
#
#   E2E_OVERLAY    mariadb-secrets (default), mysql-secrets, or one of the open ones
#   E2E_IMAGE      the image of mysqlset, as your nodes pull it; as the overlay has it by default
#   E2E_NAMESPACE  mysqlset-e2e; made, and deleted at the end with all that is in it
#   E2E_TIMEOUT    seconds that a step may take, 600
#
# Nothing but kubectl and openssl is used. The namespace asks for the restricted pod security profile. A step that the cluster has no
# nodes for is skipped, and named at the end.
set -eu
cd "$(dirname "$0")/../.."

overlay=${E2E_OVERLAY:-mariadb-secrets}
image=${E2E_IMAGE:-}
namespace=${E2E_NAMESPACE:-mysqlset-e2e}
timeout=${E2E_TIMEOUT:-600}
case "$overlay" in
# MariaDB's client asks for a certificate that it knows, from 11.4 on; without a password there is none.
mariadb | mariadb-secrets) client="mariadb --skip-ssl-verify-server-cert" replica=SLAVE ;;
mysql | mysql-secrets | mysql-percona) client=mysql replica=REPLICA ;;
mysql-5.7) client=mysql replica=SLAVE ;;
*)
    echo "E2E_OVERLAY=$overlay: it is one of mariadb-secrets, mysql-secrets, mariadb, mysql, mysql-percona and mysql-5.7" >&2
    exit 2
    ;;
esac

kube() { kubectl --namespace "$namespace" "$@"; }

# One statement, from mysql-0's pod, to HOST. The pod reads root's password from its own file, where there is one.
# shellcheck disable=SC2016,SC2086 # the pod's shell expands it; a program and its options
sql() {
    kube exec mysql-0 --container mysql -- sh -c 'MYSQL_PWD=$(cat /passwords/root 2>/dev/null) exec "$@"' sh \
        $client --host "$1" --user root --skip-column-names --batch --execute "$2"
}

step() { printf '\n%s\n' "$1"; }

# expect WHAT EXPECTED SEEN
expect() {
    if [ "$2" = "$3" ]; then
        printf '  ok    %s: %s\n' "$1" "$3"
    else
        printf '  FAIL  %s: expected %s, seen %s\n' "$1" "$2" "$3"
        exit 1
    fi
}

# eventually WHAT EXPECTED COMMAND...: asks until it is so. A name's address may be an old one for half a minute.
eventually() {
    what=$1 expected=$2
    shift 2
    deadline=$(($(date +%s) + timeout))
    while :; do
        seen=$("$@" 2>/dev/null) || seen="(kubectl failed)"
        [ "$seen" != "$expected" ] && [ "$(date +%s)" -lt "$deadline" ] || break
        sleep 1
    done
    expect "$what" "$expected" "$seen"
}

ready() { kube get pod "$1" --output 'jsonpath={.status.conditions[?(@.type=="Ready")].status}'; }
uid() { kube get pod "$1" --output 'jsonpath={.metadata.uid}'; }
node() { kube get pod "$1" --output 'jsonpath={.spec.nodeName}'; }
claims() { kube get persistentvolumeclaims --output name | wc -l | tr -d ' '; }
messages() { sql "$1" 'SELECT message FROM test.messages'; }
# How often this pod's start has published a clone.
clones() { kube logs "$1" --container clone >"$work/log" && grep -c 'event=clone\.published ' "$work/log" || [ $? -eq 1 ]; }

# Nodes that take pods.
nodes() {
    kubectl get nodes --output 'jsonpath={range .items[*]}node {.spec.unschedulable} {.spec.taints[*].effect}{"\n"}{end}' |
        grep '^node' | grep -vc 'true\|NoSchedule\|NoExecute' || true
}

# The node that mysql-2's volume can't leave, where there is one.
bound() {
    volume=$(kube get persistentvolumeclaim data-mysql-2 --output 'jsonpath={.spec.volumeName}')
    kubectl get persistentvolume "$volume" --output 'jsonpath={.spec.nodeAffinity}' | grep 'kubernetes.io/hostname' || true
}

up() { kube rollout status statefulset/mysql --timeout "${timeout}s" >/dev/null && echo up; }

# The server ids that answer behind mysql-read in thirty questions.
ids() {
    for _ in $(seq 30); do sql mysql-read 'SELECT @@server_id'; done | sort -u | tr '\n' ' ' | sed 's/ $//'
}

clean_up() {
    status=$?
    trap '' HUP INT TERM
    [ -z "${cordoned:-}" ] || kubectl uncordon "$cordoned" >/dev/null || true
    if [ -n "${made:-}" ]; then
        step "Clean up"
        kubectl delete namespace "$namespace" --timeout "${timeout}s" >/dev/null || status=1
    fi
    rm -rf "$work"
    [ "$status" -ne 0 ] || printf '\nAll steps did what the page says%s.\n' "${skipped:+, but for those that were skipped: $skipped}"
    exit "$status"
}

work=target/kustomizations/e2e-$$
mkdir -p "$work"
trap clean_up EXIT
trap 'exit 130' HUP INT TERM
cat >"$work/kustomization.yaml" <<EOF
resources:
  - ../../../k8s/overlays/$overlay
# By which a drain finds the pods of this run, and no others.
labels:
  - pairs:
      mysqlset-e2e: run-$$
    includeTemplates: true
EOF
if [ -n "$image" ]; then
    # Of a name and a tag; a registry's port has a colon too.
    name=${image%:*} tag=${image##*:}
    case "$tag" in */* | "$image") name=$image tag=latest ;; esac
    printf 'images:\n  - name: mysqlset\n    newName: %s\n    newTag: "%s"\n' "$name" "$tag" >>"$work/kustomization.yaml"
fi

step "Deploy: overlay $overlay in namespace $namespace"
kubectl create namespace "$namespace" >/dev/null
made=yes
kubectl label namespace "$namespace" pod-security.kubernetes.io/enforce=restricted >/dev/null
case "$overlay" in
*-secrets)
    for key in root clone backup replication monitoring; do echo "$key=$(openssl rand -hex 16)"; done |
        kube create secret generic mysql-passwords --from-env-file=/dev/stdin >/dev/null
    ;;
esac
kube apply --kustomize "$work" >/dev/null
expect "three pods come up" up "$(up)"
for ordinal in 0 1 2; do
    expect "mysql-$ordinal is ready" True "$(ready "mysql-$ordinal")"
    eventually "its server id" "10$ordinal" sql "mysql-$ordinal.mysql" 'SELECT @@server_id'
done

step "Send client traffic"
sql mysql-0.mysql "CREATE DATABASE test; CREATE TABLE test.messages (message VARCHAR(250));
    INSERT INTO test.messages VALUES ('hello')"
eventually "what was written to mysql-0.mysql is read through mysql-read" hello messages mysql-read
eventually "server ids behind mysql-read" "100 101 102" ids

step "Break the readiness of mysql-2: its replication is stopped"
sql mysql-2.mysql "STOP $replica"
eventually "mysql-2 is ready" False ready mysql-2
eventually "server ids behind mysql-read" "100 101" ids
sql mysql-2.mysql "START $replica"
eventually "mysql-2 is ready again" True ready mysql-2
eventually "server ids behind mysql-read" "100 101 102" ids

step "Delete the pod mysql-2"
before=$(uid mysql-2)
kube delete pod mysql-2 --timeout "${timeout}s" >/dev/null
eventually "mysql-2 is ready again" True ready mysql-2
expect "it is another pod" yes "$([ "$(uid mysql-2)" != "$before" ] && echo yes)"
eventually "with the same rows" hello messages mysql-2.mysql

step "Drain a node"
if [ "$(nodes)" -lt 2 ]; then
    skipped="drain a node (no second one that takes pods)"
elif [ -n "$(bound)" ]; then
    skipped="drain a node (the volume can't leave it)"
else
    before=$(uid mysql-2)
    cordoned=$(node mysql-2)
    kubectl drain "$cordoned" --delete-emptydir-data --ignore-daemonsets --pod-selector "mysqlset-e2e=run-$$" \
        --timeout "${timeout}s" >/dev/null
    eventually "mysql-2 is ready again" True ready mysql-2
    expect "it is another pod" yes "$([ "$(uid mysql-2)" != "$before" ] && echo yes)"
    expect "on another node" yes "$([ "$(node mysql-2)" != "$cordoned" ] && echo yes)"
    kubectl uncordon "$cordoned" >/dev/null
    cordoned=
    expect "all pods are up" up "$(up)"
fi
[ -z "${skipped:-}" ] || printf '  SKIPPED  %s\n' "$skipped"

step "Scale to five"
kube scale statefulset mysql --replicas 5 >/dev/null
expect "five pods come up" up "$(up)"
for ordinal in 3 4; do
    expect "mysql-$ordinal was cloned" 1 "$(clones "mysql-$ordinal")"
    eventually "it has the rows that were there before it" hello messages "mysql-$ordinal.mysql"
done

step "Scale to three"
kube scale statefulset mysql --replicas 3 >/dev/null
eventually "mysql-4 and mysql-3 are gone" "" kube get pod mysql-3 mysql-4 --ignore-not-found --output name
expect "five volumes stay" 5 "$(claims)"

step "Scale to five again, from the volumes"
kube scale statefulset mysql --replicas 5 >/dev/null
expect "five pods come up" up "$(up)"
for ordinal in 3 4; do
    expect "mysql-$ordinal was not cloned again" 0 "$(clones "mysql-$ordinal")"
    eventually "it has the rows" hello messages "mysql-$ordinal.mysql"
done

step "Scale to three, and delete the spare volumes"
kube scale statefulset mysql --replicas 3 >/dev/null
eventually "mysql-4 and mysql-3 are gone" "" kube get pod mysql-3 mysql-4 --ignore-not-found --output name
kube delete persistentvolumeclaim data-mysql-3 data-mysql-4 --timeout "${timeout}s" >/dev/null
expect "three volumes are left" 3 "$(claims)"
