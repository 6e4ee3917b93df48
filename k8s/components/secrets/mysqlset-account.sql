-- The sidecar's own account, run by the server's image at a first start: let in through the socket without a password,
-- for the server's user. It makes the other accounts, so it has what they need, and may change any account: code in the
-- sidecar can become root. Each kind of server runs the text after its own mark, and reads the text after the other's as a
-- comment.

-- Not in the binary log: replicas get it with their copy, and with semi-synchronous replication there is no replica yet that
-- could acknowledge it.
SET SESSION sql_log_bin = 0;

/*M!100600 CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket */;
/*M!100600 GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR, REPLICATION SLAVE, REPLICATION SLAVE ADMIN,
    REPLICATION MASTER ADMIN, READ_ONLY ADMIN, CONNECTION ADMIN, CREATE USER ON *.* TO mysql@localhost WITH GRANT OPTION */;

-- MySQL shows names of tables, and which engine each has, to an account that could use them: SHOW VIEW is the least that does.
/*!80016 CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED WITH auth_socket */;
/*!80016 GRANT RELOAD, PROCESS, LOCK TABLES, REPLICATION CLIENT, REPLICATION SLAVE, SHOW VIEW, CREATE USER, SYSTEM_USER,
    BACKUP_ADMIN, CONNECTION_ADMIN, REPLICATION_SLAVE_ADMIN, SYSTEM_VARIABLES_ADMIN ON *.* TO mysql@localhost WITH GRANT OPTION */;
/*!80016 GRANT SELECT ON mysql.slave_relay_log_info TO mysql@localhost */;
/*!80016 GRANT SELECT ON mysql.slave_worker_info TO mysql@localhost */;

GRANT SELECT ON performance_schema.* TO mysql@localhost WITH GRANT OPTION;
GRANT SELECT ON mysql.user TO mysql@localhost;
