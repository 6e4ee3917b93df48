//! The two families of backup tools: Percona's and MariaDB's.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Percona,
    Mariadb,
}
