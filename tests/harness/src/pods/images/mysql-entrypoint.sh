#!/bin/sh
# Stands in for docker-entrypoint.sh of the official MySQL images. What differs from the original:
# - it knows MYSQL_ALLOW_EMPTY_PASSWORD, MYSQL_ROOT_PASSWORD and MYSQL_ROOT_PASSWORD_FILE only;
# - its temporary server is a child of the script, and has --autocommit=1, which the original's has not;
# - the configuration is not checked first, and no link to the socket is left in the data directory;
# - no timezone tables; of /docker-entrypoint-initdb.d only what is to be sourced, and SQL;
# - it never runs as root, as the shipped manifests don't either.
# What is the same: a directory `mysql` in the data directory is taken for a complete database; else the server makes
# the system tables, is started for a time such that it listens on its socket only, root@% is created without a trace
# in the binary log, and the server proper is started in this process's place. Data of an older version are upgraded by
# the server itself.
set -eu
datadir=/var/lib/mysql
socket=/var/run/mysqld/mysqld.sock

if [ -n "${MYSQL_ROOT_PASSWORD_FILE:-}" ]; then MYSQL_ROOT_PASSWORD=$(cat "$MYSQL_ROOT_PASSWORD_FILE"); fi
if [ "$1" = mysqld ] && [ ! -d "$datadir/mysql" ]; then
    if [ -z "${MYSQL_ALLOW_EMPTY_PASSWORD:-}${MYSQL_ROOT_PASSWORD:-}" ]; then
        echo "Database is uninitialized and password option is not specified" >&2
        exit 1
    fi
    mysqld --initialize-insecure --default-time-zone=SYSTEM --autocommit=1
    mysqld --skip-networking --default-time-zone=SYSTEM --socket="$socket" --autocommit=1 &
    server=$!
    until mysql --socket="$socket" -u root -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server"
        sleep 0.1
    done
    mysql --socket="$socket" -u root <<SQL
SET @@SESSION.SQL_LOG_BIN = 0;
CREATE USER 'root'@'%' IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-}';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '${MYSQL_ROOT_PASSWORD:-}';
SQL
    DATADIR="$datadir"
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh) . "$script" ;;
        *.sql) MYSQL_PWD="${MYSQL_ROOT_PASSWORD:-}" mysql --comments --socket="$socket" -u root <"$script" ;;
        esac
    done
    kill "$server"
    wait "$server"
fi
exec "$@"
