//! The options that isolate a private server. They come after those of its files, so they take precedence.
//!
//! Each turns off something that a configuration may ask for and a private server must avoid. Such are logs, network
//! ports, replication, events, init files, repairs of tables, large buffers and talk with other servers. The list also
//! hides faulty directories of logs and of temporary files, on which the pod's server would fail to start.

use crate::server::dialect::Dialect;

/// For both families.
const BOTH: [&str; 19] = [
    // A forced recovery would skip damage.
    "--innodb-force-recovery=0",
    // Events are changed in a copy whose server may be configured to refuse changes.
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
    // With 2 a server that wrote leaves a copy that read-only servers reject; with 0 it purges for as long as it takes.
    "--innodb-fast-shutdown=1",
    "--key-buffer-size=1M",
    "--skip-large-pages",
    // A repair hides damage, and changes files.
    "--myisam-recover-options=OFF",
];

const MARIADB: [&str; 13] = [
    // Where another engine is the default, a server would start even if InnoDB failed.
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
    // Unknown to 5.6.
    "--loose-log-error-verbosity=2",
    // Other sinks are components, which are kept out here, and they write in another format.
    "--loose-log-error-services=log_filter_internal;log_sink_internal",
];

/// All options for a family.
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
    fn each_family_gets_its_own_options() {
        let of = |dialect| isolating(dialect).collect::<Vec<_>>();
        let (mariadb, mysql) = (of(Dialect::Mariadb), of(Dialect::Mysql { version: (9, 7, 4) }));
        assert!(mariadb.contains(&"--skip-ssl") && !mysql.contains(&"--skip-ssl"));
        assert!(
            !mariadb.contains(&"--loose-log-error-verbosity=2") && mysql.contains(&"--loose-log-error-verbosity=2")
        );
        assert!(mariadb.contains(&"--skip-networking") && mysql.contains(&"--skip-networking"));
    }
}
