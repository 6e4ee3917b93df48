#!/bin/sh
# Stands in for Percona XtraBackup, of the version in the file `version` beside it. It writes the stream that lies there,
# and fails as the file `way` says, in the words and with the status of the real one (seen with 2.3.5). It knows the
# options that all series know, but for those in the file `without`, and ends at any other: that an older one ignores them
# would hide the mistake.

here=$(dirname "$0")
read -r version base <"$here/version"
read -r way <"$here/way"
major=${version%%.*}
printf '%s\n' "$*" >>"$here/calls"

say() {
    printf '%s\n' "$*" >&2
}

fail() {
    say "$*"
    exit 1
}

case $1 in
--version)
    say "xtrabackup: recognized server arguments: --datadir=/var/lib/mysql"
    say "xtrabackup version $version based on MySQL server $base Linux (x86_64) (revision id: 45cda89)"
    exit 0
    ;;
--print-defaults)
    printf 'xtrabackup would have been started with the following arguments:\n--datadir=/var/lib/mysql \n'
    exit 0
    ;;
esac

mode='' stream='' target='' defaults='' slave_info='' number=0
for option; do
    number=$((number + 1))
    value=${option#*=}
    name=${option%%=*}
    plain=--${name#--loose-}
    [ "$plain" != "--$name" ] || plain=$name
    if grep -qxF -e "$plain" "$here/without"; then
        [ "$plain" != "$name" ] && say "xtrabackup: [Warning] unknown option '$option'." && continue
        say "xtrabackup: [ERROR] unknown option '$option'."
        exit 2
    fi
    case $plain in
    --defaults-file)
        [ $number = 1 ] || fail "xtrabackup: Error: --defaults-file must be specified first on the command line"
        defaults=$value
        ;;
    --backup | --prepare) mode=$plain ;;
    --stream) stream=$value ;;
    --target-dir) target=$value ;;
    --slave-info) slave_info=yes ;;
    --host | --port | --datadir | --tmpdir | --parallel | --ftwrl-wait-timeout) ;;
    --no-version-check | --use-memory) ;;
    *)
        say "xtrabackup: [ERROR] unknown option '$option'."
        exit 2
        ;;
    esac
done

say "xtrabackup version $version based on MySQL server $base Linux (x86_64) (revision id: 45cda89)"
if [ "$mode" = --prepare ]; then
    cd "$target" || fail "xtrabackup: Error: cannot my_setwd $target"
    if [ ! -e xtrabackup_checkpoints ]; then
        say "xtrabackup: cannot open ./xtrabackup_checkpoints"
        fail "xtrabackup: Error: failed to read metadata from './xtrabackup_checkpoints'"
    fi
    if [ "$way" = replay ]; then
        # What a real one said, the first time and the second.
        number=1
        [ ! -e "$here/prepared" ] || number=2
        : >"$here/prepared"
        cat "$here/said-$number.txt" >&2
        cp "$here/checkpoints" xtrabackup_checkpoints
        grep -q 'completed OK!' "$here/said-$number.txt"
        exit
    fi
    [ -e xtrabackup_logfile ] || fail "xtrabackup: Error: xtrabackup_init_temp_log() failed."
    case $way in
    killed-once | killed-late-once | both-killed-once | both-killed-late-once)
        if mkdir "$here/once" 2>/dev/null; then
            say "xtrabackup: Starting InnoDB instance for recovery."
            [ "${way#*late}" = "$way" ] || mv xtrabackup_logfile ib_logfile0
            [ "${way#both}" = "$way" ] || kill -KILL $PPID
            kill -KILL $$
        fi
        ;;
    volume-full)
        while :; do
            say "InnoDB: Operating system error number 28 in a file operation."
        done
        ;;
    unhelpful) fail "Error in my_thread_global_end(): 1 threads didn't exit" ;;
    esac
    if grep -q 'full-prepared' xtrabackup_checkpoints; then
        say "xtrabackup: This target seems to be already prepared."
    else
        say "xtrabackup: This target seems to be not prepared yet."
    fi
    last=$(sed -n 's/^last_lsn = //p' xtrabackup_checkpoints)
    [ "$way" != short-log ] || last=$((last - 1))
    say "InnoDB: Doing recovery: scanned up to log sequence number $last (100%)"
    [ "$way" = endless-log ] || say "InnoDB: $base started; log sequence number $last"
    # It goes on with log of its own.
    say "InnoDB: Shutdown completed; log sequence number $((last + 100))"
    say "InnoDB: New log files created, LSN=$((last + 100))"
    [ "$way" = endless-log ] || say "InnoDB: $base started; log sequence number $((last + 200))"
    : >ib_logfile0
    [ "$way" = forgetful ] || sed -i 's/full-backuped/full-prepared/' xtrabackup_checkpoints
    [ "$way" = speechless ] || say "261125 11:26:00 completed OK!"
    exit 0
fi

[ "$mode" = --backup ] || fail "xtrabackup: Error: neither --backup nor --prepare"
if [ "$stream" != xbstream ] && { [ "$stream" != tar ] || [ "$major" -ge 8 ]; }; then
    fail "Invalid --stream argument: $stream"
fi
if ! cmp -s "$defaults" "$here/account"; then
    fail "Failed to connect to MySQL server: Access denied for user 'backup'@'127.0.0.1' (using password: YES)."
fi
query="Error: failed to execute query"
lacking="Access denied; you need (at least one of) the"
if [ "$way" = multi-threaded ] && [ "$slave_info" ]; then
    fail "The --slave-info option requires GTID enabled for a multi-threaded slave."
fi
say "[01] Streaming ./ibdata1"
case $way in
no-reload)
    cat "$here/half"
    fail "$query FLUSH NO_WRITE_TO_BINLOG TABLES: $lacking RELOAD privilege(s) for this operation"
    ;;
no-replication-client)
    cat "$here/half"
    fail "$query SHOW SLAVE STATUS: $lacking SUPER, REPLICATION CLIENT privilege(s) for this operation"
    ;;
server-killed)
    cat "$here/half"
    fail "$query SET SESSION lock_wait_timeout=31536000: Lost connection to MySQL server during query"
    ;;
terminated)
    cat "$here/half"
    kill -TERM $$
    ;;
disk-full)
    cat "$here/half"
    say "xb_stream_write_data() failed."
    say "xtrabackup: Error writing file 'UNOPENED' (Errcode: 28 - No space left on device)"
    fail "[01] xtrabackup: Error: failed to copy datafile."
    ;;
cut)
    head -c "$(($(wc -c <"$here/half") + 9))" "$here/stream"
    say "xtrabackup: MySQL binlog position: filename 'mysql-bin.000003', position '1385'"
    say "261125 11:26:00 completed OK!"
    exit 0
    ;;
garbage)
    cat "$here/half"
    echo "it is no chunk that begins so, and this is longer than its head"
    cat "$here/stream"
    say "261125 11:26:00 completed OK!"
    exit 0
    ;;
endless)
    trap '' PIPE
    while cat "$here/stream"; do :; done 2>/dev/null
    say "xb_stream_write_data() failed."
    say "xtrabackup: Error writing file 'UNOPENED' (Errcode: 32 - Broken pipe)"
    fail "[01] xtrabackup: Error: failed to copy datafile."
    ;;
esac
cat "$here/stream"
say "xtrabackup: MySQL binlog position: filename 'mysql-bin.000003', position '1385'"
[ "$way" = silent ] || say "261125 11:26:00 completed OK!"
