#!/bin/sh
# Unpacks packages of another Debian release below a directory, for programs that this release doesn't have. Nothing is
# installed: apt has lists and archives of its own there, and the packages' scripts are not run.
#   fetch-packages.sh SUITE DIRECTORY PACKAGE...
set -eu

suite=$1
directory=$2
shift 2
wanted="$suite $*"
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
mkdir -p "$directory/lists/partial" "$directory/archives/partial" "$directory/root"
directory=$(cd "$directory" && pwd)
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$directory/sources.list"
apt() {
    apt-get --quiet --quiet -o Dir::Etc::SourceList="$directory/sources.list" -o Dir::Etc::SourceParts=/dev/null \
        -o Dir::State::Lists="$directory/lists" -o Dir::Cache::Archives="$directory/archives" \
        -o Dir::Cache::PkgCache= -o Dir::Cache::SrcPkgCache= -o APT::Sandbox::User=root \
        -o APT::Default-Release= "$@" >"$directory/log" 2>&1 || {
        cat "$directory/log" >&2
        exit 1
    }
}
apt update
(cd "$directory/archives" && apt download "$@")
for archive in "$directory"/archives/*.deb; do
    dpkg --extract "$archive" "$directory/root"
done
rm -r "$directory/lists" "$directory/archives" "$directory/sources.list" "$directory/log"
# Only now: what was interrupted is fetched again.
echo "$wanted" >"$mark"
