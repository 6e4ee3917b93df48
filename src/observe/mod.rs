//! What people and probes see: status and readiness, metrics, the HTTP pages, the socket of the pod's own containers, and
//! the progress of a clone.

pub mod http;
pub mod logging;
pub mod metrics;
pub mod own_pod;
pub mod progress;
pub mod status;
