#!/bin/sh
# What can be known of manifests and images without applying or building them: `make check`.
#   run.sh KUSTOMIZE
set -eu
cd "$(dirname "$0")/../.."
tools=target/tools/check

if ! cmp --silent tests/check/requirements.txt "$tools/installed.txt"; then
    echo "installing the schemas of Kubernetes' releases, and hadolint"
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement tests/check/requirements.txt
    cp tests/check/requirements.txt "$tools/installed.txt"
fi
"$tools/bin/python" tests/check/validate.py "$1"
"$tools/bin/hadolint" --failure-threshold style docker/Dockerfile
echo "docker/Dockerfile: nothing to say (hadolint)"

# Its installation downloads actionlint itself from GitHub. Where GitHub cannot be reached, a line says what was left out.
if [ -x "$tools/bin/actionlint" ] || "$tools/bin/pip" install --quiet --disable-pip-version-check \
    --requirement tests/check/workflows.txt >"$tools/actionlint.log" 2>&1; then
    "$tools/bin/actionlint" .github/workflows/*.yml
    echo ".github/workflows: nothing to say (actionlint)"
else
    echo "NOT CHECKED: .github/workflows, for actionlint cannot be had here ($tools/actionlint.log says why)"
fi

# Cargo finds all that its manifest names among what the Dockerfile copies.
copied=$(mktemp -d)
trap 'rm -rf "$copied"' EXIT
trap 'exit 1' HUP INT TERM
sed -n 's/^COPY \([^-]\)/\1/p' docker/Dockerfile | while read -r sources; do
    destination="$copied/${sources##* }"
    for source in ${sources% *}; do
        grep -q --fixed-strings --line-regexp "!$source" .dockerignore || {
            echo "docker/Dockerfile copies $source, and .dockerignore leaves it out" >&2
            exit 1
        }
    done
    mkdir -p "$(dirname "$destination")"
    # shellcheck disable=SC2086 # a list of names
    cp -R ${sources% *} "$destination"
done
"${CARGO:-cargo}" fetch --quiet --locked --target "$(rustc -vV | sed -n "s/^host: //p")" --manifest-path "$copied/Cargo.toml"
echo "docker/Dockerfile: it copies what Cargo.toml names"
