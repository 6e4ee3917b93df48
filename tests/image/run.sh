#!/bin/sh
# Builds docker/Dockerfile by a real engine, without a network, and runs what it built: `make image`.
#   run.sh KUSTOMIZE
# All that the engine keeps lies below target/image: images of some 3 GB, so that the next run makes no base again.
set -eu
cd "$(dirname "$0")/../.."
kustomize=$1
directory=$PWD/target/image
mkdir -p "$directory/run"

# The engine's own configuration is the machine's, and is left alone.
cat >"$directory/storage.conf" <<END
[storage]
driver = "overlay"
graphroot = "$directory/storage"
runroot = "$directory/run/storage"
END
# runc, since crun of Debian 12 starts nothing on a machine that has both versions of cgroups. Limits that the engine
# sets by default are more than a machine may grant: those of each container are said with it.
cat >"$directory/containers.conf" <<END
[containers]
default_ulimits = []
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "$directory/run/podman"
END
export CONTAINERS_STORAGE_CONF="$directory/storage.conf" CONTAINERS_CONF="$directory/containers.conf"
if [ "$(stat --file-system --format %T "$directory")" = overlayfs ]; then
    # An overlay on an overlay is not to be had; copies of whole roots are slower, and larger.
    sed -i 's/"overlay"/"vfs"/' "$directory/storage.conf"
fi

tests/image/bases.sh rust
tests/image/bases.sh mariadb
emulator=$(command -v qemu-aarch64-static)
tests/image/bases.sh arm64 || emulator=

# Dependencies come from here: the build itself has no network.
"${CARGO:-cargo}" fetch --quiet --locked
registry=${CARGO_HOME:-$HOME/.cargo}/registry

# In namespaces of their own, so that whatever ends the test ends all that it started.
exec unshare --net --mount --pid --fork --kill-child --mount-proc \
    tests/image/inside.sh "$kustomize" "$directory" "$registry" "$emulator"
