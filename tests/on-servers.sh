#!/bin/sh
# Runs scenarios and crash points on servers beside the machine's own, and lists last what was not tested, by name.
#   on-servers.sh SCENARIOS SERVER...
# SCENARIOS are words in the names of the scenarios, or nothing for all. A SERVER is a name of tests/harness/src/pods/servers.rs;
# NAME:off is MySQL without GTIDs. One that fails keeps no other from being run. The file NOT_TESTED has a line for each test: why not, a tab, its name.
set -eu
cd "$(dirname "$0")/.."
cargo=${CARGO:-cargo}
threads=${TEST_THREADS:-8}
export NOT_TESTED="${NOT_TESTED:-$PWD/target/not-tested}"

scenarios=$1
shift
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

for server in "$@"; do
    name=${server%:off}
    gtid=
    [ "$name" = "$server" ] || gtid=off
    if [ "$name" != mariadb-10.11 ] && [ ! -e "target/servers/$name/fetched" ]; then
        # shellcheck disable=SC2086 # words
        { names scenarios $scenarios; names crash_points; } |
            sed "s/^/skipped on $server, for its packages could not be fetched	/" >>"$NOT_TESTED"
        continue
    fi
    # Where not all scenarios are run, not all crash points are: each takes many clones, and a server of MySQL takes long
    # for each of them.
    crash_points=${scenarios:+kills::names_beside power_loss::lost_when_all_is_done}
    echo "on $server"
    export SERVER="$name" GTID="$gtid"
    # shellcheck disable=SC2086 # words
    skipped=$(skips scenarios $scenarios)
    # shellcheck disable=SC2086 # words
    "$cargo" test --locked --release --test scenarios -- --test-threads="$threads" $skipped $scenarios ||
        failed="$failed $server"
    # shellcheck disable=SC2086 # words
    skipped=$(skips crash_points $crash_points)
    # shellcheck disable=SC2086 # words
    "$cargo" test --locked --release --test crash_points -- --test-threads="$threads" $skipped $crash_points ||
        failed="$failed $server"
done

[ -z "$scenarios" ] ||
    echo "On these servers only scenarios of $scenarios and some crash points were run: make test-family runs all."
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
