//! Whose tool it is.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Percona,
    Mariadb,
}
