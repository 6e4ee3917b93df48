//! Options that keep a private server to itself: they come after its files', and count.
//!
//! Each stands for something that a server does by its configuration and a private one must not: write logs, listen,
//! replicate, run events or an init file, repair tables, take much memory, or talk to other servers. What the list hides of
//! a configuration that the pod's server can't start with is the directories of logs and of temporary files.

use crate::server::dialect::Dialect;

/// For both families.
const BOTH: [&str; 19] = [
    // What it has a server pass over is damage.
    "--innodb-force-recovery=0",
    // Events are changed in a copy whose server may be told to refuse that.
    "--read-only=OFF",
    "--skip-networking",
    // To the standard error instead.
    "--skip-log-error",
    "--skip-log-bin",
    "--event-scheduler=OFF",
    "--skip-name-resolve",
    "--general-log=OFF",
    "--slow-query-log=OFF",
    // 9.7 with a buffer pool of 64 MB: 487 MB are resident without these four, 320 with them.
    "--max-connections=10",
    "--table-open-cache=64",
    "--table-definition-cache=400",
    "--innodb-log-buffer-size=8M",
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    // With 2 a server that wrote leaves a copy on which no read-only one starts; with 0 it purges for as long as it takes.
    "--innodb-fast-shutdown=1",
    "--key-buffer-size=1M",
    "--skip-large-pages",
    // A repair hides damage, and changes files.
    "--myisam-recover-options=OFF",
];

const MARIADB: [&str; 13] = [
    // Where another engine is the default, a server starts without an InnoDB that can't.
    "--innodb=FORCE",
    "--skip-slave-start",
    "--skip-log-slave-updates",
    "--skip-ssl",
    "--extra-port=0",
    "--aria-recover-options=OFF",
    "--aria-pagecache-buffer-size=8M",
    "--query-cache-size=0",
    "--loose-rpl-semi-sync-master-enabled=OFF",
    "--loose-rpl-semi-sync-slave-enabled=OFF",
    "--loose-server-audit-logging=OFF",
    "--loose-wsrep-on=OFF",
    "--loose-wsrep-provider=none",
];

const MYSQL: [&str; 16] = [
    "--loose-super-read-only=OFF",
    // Its name until 8.0.26, and since.
    "--loose-skip-slave-start",
    "--loose-skip-replica-start",
    "--innodb-buffer-pool-instances=1",
    "--loose-rpl-semi-sync-source-enabled=OFF",
    "--loose-rpl-semi-sync-replica-enabled=OFF",
    "--loose-mysqlx=OFF",
    "--loose-auto-generate-certs=OFF",
    "--loose-sha256-password-auto-generate-rsa-keys=OFF",
    "--loose-caching-sha2-password-auto-generate-rsa-keys=OFF",
    "--loose-group-replication-start-on-boot=OFF",
    "--loose-persisted-globals-load=OFF",
    "--loose-daemonize=OFF",
    "--loose-audit-log-policy=NONE",
    // 5.6 does not know it.
    "--loose-log-error-verbosity=2",
    // Other sinks are components, which are not loaded here, and write in other words.
    "--loose-log-error-services=log_filter_internal;log_sink_internal",
];

/// All of a family.
pub fn isolating(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    let own: &[&str] = match dialect {
        Dialect::Mariadb => &MARIADB,
        Dialect::Mysql { .. } => &MYSQL,
    };
    BOTH.iter().chain(own).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_family_is_told_of_the_others_options() {
        let of = |dialect| isolating(dialect).collect::<Vec<_>>();
        let (mariadb, mysql) = (of(Dialect::Mariadb), of(Dialect::Mysql { version: (9, 7, 4) }));
        assert!(mariadb.contains(&"--skip-ssl") && !mysql.contains(&"--skip-ssl"));
        assert!(
            !mariadb.contains(&"--loose-log-error-verbosity=2") && mysql.contains(&"--loose-log-error-verbosity=2")
        );
        assert!(mariadb.contains(&"--skip-networking") && mysql.contains(&"--skip-networking"));
    }
}
