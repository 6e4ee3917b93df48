#!/bin/sh
# Unpacks packages of another Debian release below a directory, for programs that this release doesn't have. Nothing is
# installed: apt has lists and archives of its own there, and the packages' scripts are not run.
#   fetch-packages.sh [--whole] SUITE DIRECTORY PACKAGE...
# With --whole all packages come along that these depend on, so that DIRECTORY/root needs nothing of the machine's.
set -eu

whole=
if [ "$1" = --whole ]; then
    whole=--whole
    shift
fi
suite=$1
directory=$2
shift 2
wanted="${whole:+$whole }$suite $*"
mark="$directory/fetched"
[ "$(cat "$mark" 2>/dev/null || true)" != "$wanted" ] || exit 0

# From wherever this machine has its own Debian packages; what it has is known once its lists are there.
find_mirror() {
    apt-get indextargets --format '$(REPO_URI) $(COMPONENT)' 'Created-By: Packages' 'Label: Debian' |
        sed -n 's/ main$//p' | head -n 1
}
mirror=$(find_mirror)
[ -n "$mirror" ] || { apt-get --quiet --quiet update && mirror=$(find_mirror); }
[ -n "$mirror" ] || {
    echo "among this machine's package sources is none whose label is Debian: from where shall $suite's packages come?" >&2
    exit 1
}

echo "fetching from Debian's $suite:" "$@"
rm -rf "$directory"
mkdir -p "$directory/root" "$directory/apt/lists/partial" "$directory/apt/archives/partial"
directory=$(cd "$directory" && pwd)
own=$directory/apt
# Of that release nothing is installed.
: >"$own/status"
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$own/sources.list"
apt() {
    apt-get --quiet --quiet -o Dir::Etc::SourceList="$own/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Status="$own/status" -o Dir::State::Lists="$own/lists" -o Dir::Cache::Archives="$own/archives" \
        -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache= -o APT::Sandbox::User=root -o APT::Default-Release= \
        -o Acquire::http::Timeout=30 "$@" >"$own/log" 2>&1 || {
        cat "$own/log" >&2
        exit 1
    }
}
apt update
if [ -n "$whole" ]; then
    apt install --yes --no-install-recommends --download-only "$@"
else
    (cd "$own/archives" && apt download "$@")
fi
for archive in "$own"/archives/*.deb; do
    dpkg --extract "$archive" "$directory/root"
done
rm -r "$own"
# Only now: what was interrupted is fetched again.
echo "$wanted" >"$mark"
