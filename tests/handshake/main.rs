//! A real sidecar without a server, and those who would have it say or take what it should not: somebody between it and honest
//! recipients, a pod that was taken over, strangers in any number, and requests that are none.

mod between;
mod floods;
mod http;
