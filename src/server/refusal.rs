//! Errors by which a server lasts in refusing an account: a wait alone mends none of them. From the tables of MySQL 9.7 and
//! MariaDB 10.11 (`perror`).

/// What is wrong, as far as the remedies differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No such account, or another password.
    Password,
    Expired,
    Locked,
    /// The account may not come from this host, or too many have failed from there.
    Host,
    /// A limit of connections is used up.
    Limit,
    Privilege,
    /// The account's plugin is not loaded, or not known to the replica.
    Plugin,
    /// TLS is demanded.
    Transport,
    Offline,
    /// The statements of `init_connect` fail when this account runs them.
    InitConnect,
}

impl Refusal {
    pub fn of(code: u32) -> Option<Refusal> {
        Some(match code {
            // ER_ACCESS_DENIED_ERROR, ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
            1045 | 1698 => Refusal::Password,
            // ER_MUST_CHANGE_PASSWORD, ER_MUST_CHANGE_PASSWORD_LOGIN.
            1820 | 1862 => Refusal::Expired,
            // MySQL's ER_ACCOUNT_HAS_BEEN_LOCKED and …_BLOCKED_BY_PASSWORD_LOCK; MariaDB's ER_USER_IS_BLOCKED and
            // ER_ACCOUNT_HAS_BEEN_LOCKED.
            3118 | 3955 | 4150 | 4151 => Refusal::Locked,
            // ER_HOST_IS_BLOCKED, ER_HOST_NOT_PRIVILEGED.
            1129 | 1130 => Refusal::Host,
            // ER_CON_COUNT_ERROR, ER_TOO_MANY_USER_CONNECTIONS, ER_USER_LIMIT_REACHED.
            1040 | 1203 | 1226 => Refusal::Limit,
            // ER_DBACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR.
            1044 | 1142 | 1227 => Refusal::Privilege,
            // ER_NOT_SUPPORTED_AUTH_MODE, ER_SERVER_IS_IN_SECURE_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED; of the client's:
            // CR_SECURE_AUTH, CR_AUTH_PLUGIN_CANNOT_LOAD, CR_AUTH_PLUGIN_ERR.
            1251 | 1275 | 1524 | 2049 | 2059 | 2061 => Refusal::Plugin,
            // ER_SECURE_TRANSPORT_REQUIRED; of the client's: CR_SSL_CONNECTION_ERROR.
            3159 | 2026 => Refusal::Transport,
            // ER_SERVER_OFFLINE_MODE.
            3032 => Refusal::Offline,
            // ER_NEW_ABORTING_CONNECTION.
            1184 => Refusal::InitConnect,
            _ => return None,
        })
    }

    /// What to do on the server that refuses.
    pub fn remedy(self) -> &'static str {
        match self {
            Refusal::Password => "give the account this password there, or this pod the account's",
            Refusal::Expired => "run ALTER USER … PASSWORD EXPIRE NEVER there, as --manage-accounts does",
            Refusal::Locked => "run ALTER USER … ACCOUNT UNLOCK there",
            Refusal::Host => "let the account come from this host, or run FLUSH HOSTS there",
            Refusal::Limit => "raise max_connections there, or the account's own limits",
            Refusal::Privilege => "grant the account REPLICATION SLAVE there",
            Refusal::Plugin => "give the account a plugin that both servers have",
            Refusal::Transport => "the account, or require_secure_transport, demands TLS there: take that off",
            Refusal::Offline => "switch offline_mode off there",
            Refusal::InitConnect => {
                "mend init_connect there, or grant the account CONNECTION ADMIN (CONNECTION_ADMIN on MySQL): it is not run then"
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_that_is_away_refuses_nobody() {
        // CR_CONNECTION_ERROR, CR_CONN_HOST_ERROR, CR_SERVER_GONE_ERROR, CR_SERVER_LOST, and none.
        for code in [2002, 2003, 2006, 2013, 0] {
            assert_eq!(Refusal::of(code), None);
        }
        for (code, refusal) in [(1862, Refusal::Expired), (1820, Refusal::Expired), (4151, Refusal::Locked)] {
            assert_eq!(Refusal::of(code), Some(refusal));
        }
    }
}
