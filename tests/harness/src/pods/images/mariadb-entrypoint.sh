#!/bin/sh
# Stands in for docker-entrypoint.sh of the official MariaDB images. What differs from the original:
# - it knows MARIADB_ALLOW_EMPTY_ROOT_PASSWORD, MARIADB_ROOT_PASSWORD and MARIADB_ROOT_PASSWORD_FILE only;
# - its temporary server has as long as it takes, the original's 30 seconds;
# - mariadb-install-db is not told to skip the binary log, nor that no storage engine is enforced;
# - no healthcheck account, no timezone tables (the original loads them, with statements longer than 1024 bytes); of /docker-entrypoint-initdb.d only what is to be sourced, and SQL;
# - with MARIADB_AUTO_UPGRADE data that are there are upgraded at each start, whatever their version;
# - it never runs as root, as the shipped manifests don't either.
# What is the same: a directory `mysql` in the data directory is taken for a complete database; else the system
# tables are made, a temporary server is started that listens on its socket only, root@% is created without a trace
# in the binary log, and the server proper is started in this process's place.
set -eu
# The original asks the server.
configured=$(sed -n 's/^datadir *= *//p' /etc/mysql/conf.d/*.cnf 2>/dev/null || true)
datadir=${configured:-/var/lib/mysql}
socket=/run/mysqld/mysqld.sock

# Until a temporary server answers.
wait_for() {
    server=$1
    until mariadb --socket="$socket" -u root -e 'SELECT 1' >/dev/null 2>&1; do
        kill -0 "$server"
        sleep 0.1
    done
}

if [ -n "${MARIADB_ROOT_PASSWORD_FILE:-}" ]; then MARIADB_ROOT_PASSWORD=$(cat "$MARIADB_ROOT_PASSWORD_FILE"); fi
if [ "$1" = mariadbd ] && [ ! -d "$datadir/mysql" ]; then
    if [ -z "${MARIADB_ALLOW_EMPTY_ROOT_PASSWORD:-}${MARIADB_ROOT_PASSWORD:-}" ]; then
        echo "Database is uninitialized and password option is not specified" >&2
        exit 1
    fi
    mariadb-install-db --datadir="$datadir" --rpm --auth-root-authentication-method=normal --skip-test-db \
        --cross-bootstrap >/dev/null
    mariadbd --skip-networking --socket="$socket" --skip-slave-start --expire-logs-days=0 \
        --loose-innodb_buffer_pool_load_at_startup=0 &
    wait_for $!
    mariadb --socket="$socket" -u root <<SQL
SET @@SESSION.SQL_LOG_BIN = 0;
CREATE USER 'root'@'%' IDENTIFIED BY '${MARIADB_ROOT_PASSWORD:-}';
GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;
ALTER USER 'root'@'localhost' IDENTIFIED BY '${MARIADB_ROOT_PASSWORD:-}';
SQL
    DATADIR="$datadir"
    for script in /docker-entrypoint-initdb.d/*; do
        case "$script" in
        *.sh) . "$script" ;;
        *.sql) MYSQL_PWD="${MARIADB_ROOT_PASSWORD:-}" mariadb --socket="$socket" -u root <"$script" ;;
        esac
    done
    kill "$server"
    wait "$server"
elif [ "$1" = mariadbd ] && [ -n "${MARIADB_AUTO_UPGRADE:-}" ]; then
    # As the original: without TCP, and without accounts. It takes a while.
    mariadbd --skip-networking --socket="$socket" --skip-slave-start --skip-grant-tables \
        --loose-innodb_buffer_pool_load_at_startup=0 &
    wait_for $!
    sleep 2
    mariadb-upgrade --socket="$socket" --upgrade-system-tables >/dev/null
    kill "$server"
    wait "$server"
fi
exec "$@"
