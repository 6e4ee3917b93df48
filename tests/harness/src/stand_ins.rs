//! Parts that tests play themselves: no real donor, recipient, server or tool would act so at the right moment.

pub mod donor;
pub mod recipient;
pub mod server;
pub mod xtrabackup;
