//! Parts that tests act themselves: what no real donor, recipient, server or tool would do at the right moment.

pub mod donor;
pub mod recipient;
pub mod server;
pub mod xtrabackup;
