-- The sidecar's own account, run by the server's image at a first start: let in through the socket without a password,
-- for who runs as the server's user. It makes the other accounts, so it has what they need, and may change any account: who
-- is in the sidecar can become root.
CREATE USER IF NOT EXISTS mysql@localhost IDENTIFIED VIA unix_socket;
GRANT RELOAD, PROCESS, LOCK TABLES, BINLOG MONITOR, SLAVE MONITOR, REPLICATION SLAVE, REPLICATION SLAVE ADMIN,
    REPLICATION MASTER ADMIN, READ_ONLY ADMIN, CREATE USER ON *.* TO mysql@localhost WITH GRANT OPTION;
GRANT SELECT ON performance_schema.* TO mysql@localhost WITH GRANT OPTION;
GRANT SELECT ON mysql.user TO mysql@localhost;
