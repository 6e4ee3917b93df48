#!/bin/sh
# The part of run.sh that has namespaces of its own: for networks, mounts and processes.
#   inside.sh KUSTOMIZE DIRECTORY REGISTRY [EMULATOR]
set -eu
cd "$(dirname "$0")/../.."
kustomize=$1 directory=$2 registry=$3 emulator=$4
image=mysqlset:$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml)
mount --make-rprivate /
# What the engine and `ip netns` note of things that run; nothing of an earlier run does.
mount -t tmpfs tmpfs "$directory/run"
mkdir -p /run/netns
mount -t tmpfs tmpfs /run/netns
podman rm --all --force >/dev/null
buildah rm --all >/dev/null

build() {
    buildah build --isolation chroot --pull-never --format docker "$@" >"$directory/build.log" 2>&1 || {
        cat "$directory/build.log" >&2
        exit 1
    }
}

echo "building docker/Dockerfile by $(buildah --version | cut -d ' ' -f 1-3), without a network"
build --file docker/Dockerfile --volume "$registry:/usr/local/cargo/registry:ro" --tag "$image" .

if [ -n "$emulator" ]; then
    echo "cross-compiling for arm64 by $(podman run --rm --network none --ulimit nofile=4096:4096 \
        --ulimit nproc=4096:4096 mysqlset-arm64-build rustc --version)"
    mkdir -p "$directory/arm64"
    podman run --rm --network none --ulimit nofile=4096:4096 --ulimit nproc=4096:4096 \
        --volume "$PWD:/src:ro" --volume "$registry:/usr/local/cargo/registry:ro" --volume "$directory/arm64:/target" \
        --workdir /src --env CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
        mysqlset-arm64-build cargo build --quiet --locked --release --bin mysqlset \
        --target aarch64-unknown-linux-gnu --target-dir /target
    # The Dockerfile's last stage, with the program that its first would have built on such a node.
    context=$directory/arm64/context
    rm -rf "$context"
    mkdir -p "$context"
    cp "$directory/arm64/aarch64-unknown-linux-gnu/release/mysqlset" "$context/mysqlset"
    sed -n 's/--from=build //; /^FROM scratch/,$ p' docker/Dockerfile >"$directory/arm64/Dockerfile"
    build --file "$directory/arm64/Dockerfile" --platform linux/arm64 --tag "$image-arm64" "$context"
fi

status=0
# shellcheck disable=SC2086 # none where there is no emulator
/usr/bin/python3 -B tests/image/main.py "$kustomize" "$directory" $emulator || status=$?
podman rm --all --force >/dev/null
podman image prune --force >/dev/null
exit "$status"
