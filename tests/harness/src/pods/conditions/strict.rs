//! Strictly configured servers: each condition is a few lines of the ConfigMap.

use super::{Condition, Subject, Surroundings};
use crate::pods::manifest::Manifests;
use crate::pods::servers::{self, tested};

/// Lines for the servers' configuration, for each family.
pub struct Strict {
    name: &'static str,
    mariadb: &'static [&'static str],
    mysql: &'static [&'static str],
    /// More lines for replicas alone.
    replicas: &'static [&'static str],
    /// Required plugins, by the files' names.
    mariadbs_plugins: &'static [&'static str],
    mysqls_plugins: &'static [&'static str],
    /// The reason why MariaDB's image makes no set under it.
    mariadbs_obstacle: Option<&'static str>,
    /// Whether it has an effect only on accounts with passwords.
    needs_accounts: bool,
    /// The administrator's scripts at a first start.
    scripts: Option<Scripts>,
}

struct Scripts {
    mariadb: &'static str,
    mysql: &'static str,
}

const PLAIN: Strict = Strict {
    name: "",
    mariadb: &[],
    mysql: &[],
    replicas: &[],
    mariadbs_plugins: &[],
    mysqls_plugins: &[],
    mariadbs_obstacle: None,
    needs_accounts: false,
    scripts: None,
};

impl Strict {
    /// The shipped files turn this on, so every other run covers the opposite.
    pub const RESOLVES_NAMES: Strict = Strict {
        name: "server-resolves-names",
        mariadb: &["skip_name_resolve = OFF", "host_cache_size = 128"],
        mysql: &["skip_name_resolve = OFF", "host_cache_size = 128"],
        ..PLAIN
    };
    pub const SHORT_TIMEOUTS: Strict = Strict {
        name: "short-timeouts",
        mariadb: &[
            "wait_timeout = 1",
            "interactive_timeout = 1",
            "max_statement_time = 5",
            "lock_wait_timeout = 2",
            "innodb_lock_wait_timeout = 1",
            "net_read_timeout = 5",
            "net_write_timeout = 5",
        ],
        mysql: &[
            "wait_timeout = 1",
            "interactive_timeout = 1",
            "max_execution_time = 5000",
            "lock_wait_timeout = 2",
            "innodb_lock_wait_timeout = 1",
            "net_read_timeout = 5",
            "net_write_timeout = 5",
        ],
        ..PLAIN
    };
    pub const SQL_MODE: Strict = Strict {
        name: "sql-mode-oracle",
        mariadb: &["sql_mode = ORACLE,NO_BACKSLASH_ESCAPES"],
        // MySQL has had none of that name since 8.0; these are its parts.
        mysql: &["sql_mode = ANSI_QUOTES,PIPES_AS_CONCAT,IGNORE_SPACE,NO_BACKSLASH_ESCAPES"],
        ..PLAIN
    };
    pub const NO_AUTOCOMMIT: Strict =
        Strict { name: "no-autocommit", mariadb: &["autocommit = 0"], mysql: &["autocommit = 0"], ..PLAIN };
    pub const EVENTS: Strict = Strict {
        name: "event-scheduler",
        mariadb: &["event_scheduler = ON"],
        mysql: &["event_scheduler = ON"],
        ..PLAIN
    };
    pub const SMALL_PACKETS: Strict = Strict {
        name: "small-packets",
        mariadb: &["max_allowed_packet = 1024", "net_buffer_length = 1024"],
        // The minimum for a copy by the CLONE plugin.
        mysql: &["max_allowed_packet = 2M", "net_buffer_length = 1024"],
        ..PLAIN
    };
    pub const FEW_CONNECTIONS: Strict = Strict {
        name: "few-connections",
        mariadb: &["max_connections = 10"],
        mysql: &["max_connections = 10"],
        ..PLAIN
    };
    pub const INIT_CONNECT: Strict = Strict {
        name: "init-connect-fails",
        mariadb: &["init_connect = 'SELECT * FROM no.such_table'"],
        mysql: &["init_connect = 'SELECT * FROM no.such_table'"],
        needs_accounts: true,
        scripts: Some(Scripts {
            mariadb: "CREATE USER replication@'%' IDENTIFIED BY 'x'; GRANT CONNECTION ADMIN ON *.* TO replication@'%';",
            mysql: "CREATE USER replication@'%' IDENTIFIED BY 'x'; GRANT CONNECTION_ADMIN ON *.* TO replication@'%';",
        }),
        ..PLAIN
    };
    pub const VALIDATION: Strict = Strict {
        name: "password-validation",
        mariadb: &["plugin_load_add = simple_password_check.so", "strict_password_validation = ON"],
        mysql: &["plugin_load_add = validate_password.so", "loose_validate_password_policy = STRONG"],
        mariadbs_plugins: &["simple_password_check.so"],
        mysqls_plugins: &["validate_password.so"],
        needs_accounts: true,
        ..PLAIN
    };
    pub const SEMI_SYNC: Strict = Strict {
        name: "semi-sync",
        mariadb: &[
            "rpl_semi_sync_master_enabled = ON",
            "rpl_semi_sync_slave_enabled = ON",
            "rpl_semi_sync_master_timeout = 3600000",
        ],
        mysql: &[
            "plugin_load_add = semisync_source.so",
            "plugin_load_add = semisync_replica.so",
            "loose_rpl_semi_sync_source_enabled = ON",
            "loose_rpl_semi_sync_replica_enabled = ON",
            "loose_rpl_semi_sync_source_timeout = 3600000",
        ],
        // A replica's applier waits too, for a replica that it lacks. On MySQL it waits for the servers' default of ten
        // seconds. On MariaDB a kill during that wait leaves a replica that must be cloned again (error 1950), with any
        // program beside it. So replicas act as replicas only.
        replicas: &["loose_rpl_semi_sync_source_timeout = 10000", "loose_rpl_semi_sync_master_enabled = OFF"],
        mysqls_plugins: &["semisync_source.so", "semisync_replica.so"],
        needs_accounts: true,
        ..PLAIN
    };
    pub const LIFETIME: Strict = Strict {
        name: "password-lifetime",
        mysql: &["default_password_lifetime = 1"],
        mariadbs_obstacle: Some(
            "a first start ends in the image: mariadb-install-db dates no password, so root's is expired (1820) at once",
        ),
        needs_accounts: true,
        ..PLAIN
    };
}

impl Condition for Strict {
    fn name(&self) -> &'static str {
        self.name
    }

    fn subject(&self) -> Subject {
        Subject::Server
    }

    fn why_not(&self) -> Option<String> {
        if tested().is_mariadb()
            && let Some(obstacle) = self.mariadbs_obstacle
        {
            return Some(obstacle.to_owned());
        }
        let plugins = if tested().is_mariadb() { self.mariadbs_plugins } else { self.mysqls_plugins };
        let missing = plugins.iter().find(|plugin| !servers::has_plugin(plugin));
        missing.map(|plugin| format!("{} has no {plugin} here", tested().title()))
    }

    fn needs_accounts(&self) -> bool {
        self.needs_accounts
    }

    fn change_manifests(&self, manifests: &mut Manifests) {
        let lines = if tested().is_mariadb() { self.mariadb } else { self.mysql };
        for (name, file) in manifests.server_config() {
            let own = if name.starts_with("replica") { self.replicas } else { &[] };
            lines.iter().chain(own).for_each(|line| file.extend([line, "\n"]));
        }
        if let Some(scripts) = &self.scripts {
            let script = if tested().is_mariadb() { scripts.mariadb } else { scripts.mysql };
            manifests.first_start_scripts().insert("administrator.sql".to_owned(), script.to_owned());
        }
    }

    fn change_surroundings(&self, surroundings: &mut Surroundings) {
        // The tests' own client sets the same as an application on such a server.
        let unlimited = if tested().is_mariadb() { "max_statement_time = 0" } else { "max_execution_time = 0" };
        surroundings.client =
            format!("SET autocommit = 1, sql_mode = '', wait_timeout = 28800, net_read_timeout = 60, {unlimited}");
    }
}
