//! Pods outside the set: a network with an address and nothing in it, from which a test connects.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::Result;

use super::Cluster;
use super::network::{PodNetwork, inside};
use super::policies::{self, Caller, Known, Labels};

/// One of them.
pub struct Guest {
    network: PodNetwork,
}

impl Cluster {
    /// A pod in a namespace.
    pub fn add_guest(&self, name: &str, namespace: &str, labels: Labels) -> Result<Guest> {
        let network = self.shared.network.add_pod(name, self.shared.next_number() as u32)?;
        let caller = Caller::Pod { namespace: namespace.to_owned(), labels };
        policies::make_known(&self.shared, Known { addresses: network.addresses.clone(), caller }, None)?;
        Ok(Guest { network })
    }
}

impl Guest {
    /// Whether it can connect.
    pub fn reaches(&self, address: SocketAddr) -> Result<bool> {
        let connect = move || Ok(TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok());
        inside(self.network.pid(), connect)
    }
}
