//! `mysqlset` runs MySQL and MariaDB replicas in a Kubernetes StatefulSet: it gives each pod its configuration, fills
//! a new pod's volume with a clone of another pod's data, starts replication from where the clone ends, and serves
//! clones to the next pod. It knows nothing of the Kubernetes API.

pub mod backup_tool;
pub mod child;
pub mod cli;
pub mod datadir;
pub mod deadline;
pub mod donor;
pub mod durable;
pub mod exit;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod mysql;
pub mod ordinal;
pub mod pid1;
pub mod position;
pub mod random;
pub mod recipient;
pub mod replication;
pub mod scratch;
pub mod secret;
pub mod settings;
pub mod status;
pub mod unpack;
pub mod wire;
