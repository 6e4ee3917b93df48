//! The tutorial's stream: `ncat` on both ends, no greeting, no proof and no end mark. A donor serves it and a recipient takes
//! it only where the operator said so.

pub mod connection;
pub mod donor;
pub mod recipient;
