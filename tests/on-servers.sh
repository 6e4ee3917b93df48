#!/bin/sh
# Runs scenarios and crash points on servers beside the machine's own, and lists last what was not tested, by name.
#   on-servers.sh SCENARIOS CRASH_POINTS SERVER...
# SCENARIOS and CRASH_POINTS are words in the names of those tests: an empty text for all, "-" for none. A SERVER is a name
# of tests/harness/src/pods/servers.rs; NAME:off is MySQL without GTIDs. One that fails keeps no other from being run. The file NOT_TESTED has a line for each test: why not, a tab, its name.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
threads=${TEST_THREADS:-8}
export NOT_TESTED="${NOT_TESTED:-$PWD/target/not-tested}"

scenarios=$1
crash_points=$2
shift 2
failed=

# names PROGRAM WORD...: of the tests that would be run
names() {
    program=$1
    shift
    "$cargo" test --quiet --locked --release --test "$program" -- --list "$@" | sed -n 's/: test$//p' | sed "s/^/$program::/"
}

# skips PROGRAM WORD...: the runner's options that skip the tests which the server of SERVER and GTID cannot run
skips() {
    "$cargo" test --quiet --locked --release --test left_out -- "$@"
}

# run PROGRAM WORDS: its tests on the server of SERVER and GTID
run() {
    [ "$2" != - ] || return 0
    # shellcheck disable=SC2086 # words
    skipped=$(skips "$1" $2)
    # shellcheck disable=SC2086 # words
    "$cargo" test --locked --release --test "$1" -- --test-threads="$threads" $skipped $2 || failed="$failed $server"
}

part() {
    case $1 in
    -) echo none ;;
    '') echo all ;;
    *) echo "$1" ;;
    esac
}

for server in "$@"; do
    name=${server%:off}
    gtid=
    [ "$name" = "$server" ] || gtid=off
    if [ "$name" != mariadb-10.11 ] && [ ! -e "target/servers/$name/fetched" ]; then
        # shellcheck disable=SC2086 # words
        { [ "$scenarios" = - ] || names scenarios $scenarios; [ "$crash_points" = - ] || names crash_points $crash_points; } |
            sed "s/^/skipped on $server, for its packages could not be fetched	/" >>"$NOT_TESTED"
        continue
    fi
    echo "on $server"
    export SERVER="$name" GTID="$gtid"
    run scenarios "$scenarios"
    run crash_points "$crash_points"
done

[ -z "$scenarios$crash_points" ] ||
    echo "Only a part was run on these servers (scenarios: $(part "$scenarios"), crash points: $(part "$crash_points")):" \
        "make test-family runs all."
if [ -s "$NOT_TESTED" ]; then
    echo "Not run:"
    sort "$NOT_TESTED" | awk -F '\t' '
        $1 != why { if (why) print ""; printf "  %s: %s", $1, $2; why = $1; next }
        { printf ", %s", $2 }
        END { print "" }'
else
    echo "Nothing was left out or skipped."
fi
if [ -n "$failed" ]; then
    echo "FAILED on:$failed"
    exit 1
fi
echo "All that was run passed."
