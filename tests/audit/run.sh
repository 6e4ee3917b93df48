#!/bin/sh
# The dependencies by cargo-deny and deny.toml: `make audit`. What cannot be checked fails, and is named with the remedy.
set -eu
cd "$(dirname "$0")/../.."
version=0.20.2
cargo=${CARGO:-cargo}

if ! "$cargo" deny --version >/dev/null 2>&1; then
    echo "installing cargo-deny $version"
    "$cargo" install --quiet --locked cargo-deny --version "$version" || {
        echo "nothing was checked: cargo-deny cannot be installed here; run 'cargo install --locked cargo-deny --version" \
            "$version' where crates.io can be reached, then 'make audit' again" >&2
        exit 1
    }
fi

status=0
"$cargo" deny --locked check bans licenses sources || status=1
if "$cargo" deny --locked fetch db; then
    "$cargo" deny --locked check --disable-fetch advisories || status=1
else
    echo "advisories were not checked: RustSec's database cannot be reached; run 'make audit' again where it can" >&2
    status=1
fi
exit "$status"
