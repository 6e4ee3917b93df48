//! A real sidecar without a server, and those who would have it say or take what it should not: somebody between it and honest
//! recipients, a pod that was taken over, and strangers in any number.

mod between;
mod floods;
mod sidecar;
