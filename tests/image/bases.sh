#!/bin/sh
# Makes one base image from Debian's packages, under the name that the Dockerfile or the manifests use for it. It is kept
# until this script, the compiler or a file in it changes.
#   bases.sh rust|mariadb|arm64
set -eu
cd "$(dirname "$0")/../.."

# As in tests/fetch-packages.sh: from wherever this machine has its own Debian packages.
find_mirror() {
    # shellcheck disable=SC2016 # a template of apt's
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 'Label: Debian' |
        sed -n 's/ main$//p' | head -n 1
}
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get --quiet --quiet update && mirror=$(find_mirror); }
[ -n "$mirror" ] || { echo "no package source on this machine has the label Debian" >&2; exit 1; }

# make NAME FINGERPRINT SUITE PACKAGES [CHANGES AND OPTIONS OF mmdebstrap, each as --import=… or as it is]
make_base() {
    name=$1 fingerprint=$2 suite=$3 packages=$4
    shift 4
    label=$(podman image inspect --format '{{index .Labels "mysqlset.made-of"}}' "$name" 2>/dev/null || true)
    [ "$label" != "$fingerprint" ] || return 0
    echo "making the base image $name from Debian's $suite"
    archive=$work/root.tar
    # A root that breaks off is thrown away: nothing has to be on the disk at once.
    mmdebstrap --quiet --variant=minbase --include="$packages" --dpkgopt=force-unsafe-io \
        --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
        --dpkgopt='path-exclude=/usr/share/locale/*' --customize-hook="$customize" "$@" "$suite" "$archive" "$mirror"
    # shellcheck disable=SC2086 # a list of options without spaces in them
    podman import --quiet --change "LABEL mysqlset.made-of=$fingerprint" $changes "$archive" "$name" >/dev/null
    rm "$archive"
    podman image prune --force >/dev/null
}

work=$PWD/target/image/bases
rm -rf "$work"
mkdir -p "$work"
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
of() { cat "$0" "$@" | sha256sum | cut -d ' ' -f 1; }
cargo_home="--change ENV=CARGO_HOME=/usr/local/cargo --change ENV=CARGO_NET_OFFLINE=true"

case "$1" in
rust)
    # Debian's compiler is another one. This machine's goes in, as `rustup` would have installed it.
    sysroot=$(rustc --print sysroot)
    rustc -vV >"$work/version"
    wanted=$(sed -n 's/^FROM rust:\([0-9.]*\)-.*/\1/p' docker/Dockerfile)
    grep -q "^release: $wanted\." "$work/version" || {
        echo "the Dockerfile is for Rust $wanted, and this machine has $(rustc --version)" >&2
        exit 1
    }
    toolchain=/usr/local/rustup/toolchain
    customize="mkdir -p \"\$1$toolchain\" \"\$1/usr/local/cargo/registry\"
        tar -C '$sysroot' --exclude=lib/rustlib/src -c bin/rustc bin/cargo lib | tar -C \"\$1$toolchain\" -x"
    changes="$cargo_home --change ENV=PATH=$toolchain/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    make_base "$(sed -n 's/^FROM \(rust:[^ ]*\).*/\1/p' docker/Dockerfile)" "$(of "$work/version")" bookworm \
        ca-certificates,gcc,libc6-dev
    ;;
mariadb)
    entrypoint=$PWD/tests/harness/src/pods/images/mariadb-entrypoint.sh
    cat >"$work/my.cnf" <<'END'
[client-server]
socket = /run/mysqld/mysqld.sock
[mysqld]
socket = /run/mysqld/mysqld.sock
host-cache-size = 0
skip-name-resolve
!includedir /etc/mysql/conf.d/
END
    # The official image's own entrypoint cannot be had here: a stand-in, with what the harness knows of it.
    customize="chroot \"\$1\" groupadd --gid 999 mysql
        chroot \"\$1\" useradd --uid 999 --gid 999 --home-dir /home/mysql mysql
        cp '$entrypoint' \"\$1/usr/local/bin/docker-entrypoint.sh\"
        chmod 755 \"\$1/usr/local/bin/docker-entrypoint.sh\"
        rm -rf \"\$1/etc/mysql\" \"\$1/var/lib/mysql\"
        mkdir -p \"\$1/etc/mysql/conf.d\" \"\$1/var/lib/mysql\" \"\$1/run/mysqld\" \"\$1/docker-entrypoint-initdb.d\"
        cp '$work/my.cnf' \"\$1/etc/mysql/my.cnf\""
    changes="--change ENTRYPOINT=[\"docker-entrypoint.sh\"] --change CMD=[\"mariadbd\"] --change VOLUME=/var/lib/mysql"
    make_base mariadb:10.11 "$(of "$entrypoint")" bookworm mariadb-server-core,mariadb-client-core,mariadb-backup
    ;;
arm64)
    # The machine's compiler has no standard library for it, and Debian's takes none but its own compiler's.
    # shellcheck disable=SC2016 # mmdebstrap's shell gives it the root
    customize='mkdir -p "$1/usr/local/cargo/registry"'
    changes=$cargo_home
    make_base mysqlset-arm64-build "$(of)" trixie \
        ca-certificates,rustc-web,cargo-web,libstd-rust-web-dev:arm64,gcc,libc6-dev,gcc-aarch64-linux-gnu,libc6-dev-arm64-cross \
        --architectures=amd64,arm64
    ;;
*)
    echo "bases.sh rust|mariadb|arm64" >&2
    exit 2
    ;;
esac
