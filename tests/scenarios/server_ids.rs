//! Two servers of a set with one server id end each other's replication: noticed by who has the wrong one.

use anyhow::Result;
use mysqlset::model::event::Event;
use rustix::process::Signal;

use crate::pods::PATIENCE;
use crate::pods::logged::Said;
use crate::set;

#[test]
fn a_replica_whose_server_has_another_id_than_was_written_is_not_ready_and_says_so() -> Result<()> {
    let cluster = set::start(2, |_| {})?;
    cluster.wait_ready(2)?;
    cluster.sql("mysql-1", "SET GLOBAL server_id = 100")?;
    cluster.signal("mysql-1", "sidecar", Signal::KILL)?;
    cluster.wait_for("mysql-1 to say it", PATIENCE, || {
        let status = cluster.status_page("mysql-1")?;
        Ok(status.names(Event::ServerIdDiffers) && status.contains("server_id 100") && status.contains("101"))
    })?;
    assert_eq!(cluster.ready_pods(), ["mysql-0"]);
    // It harms no other replica meanwhile.
    // The column Slave_IO_Running, Replica_IO_Running.
    let status = cluster.sql("mysql-1", "SHOW REPLICA STATUS")?;
    assert_eq!(status[0][10], "No", "{status:?}");
    let log = cluster.logs("mysql-1", "sidecar");
    assert_eq!(log.count_of(Event::ServerIdDiffers), 1, "{log}");
    // Set right: at the next start of the server or the sidecar, or at the next try.
    cluster.sql("mysql-1", "SET GLOBAL server_id = 101")?;
    cluster.wait_ready(2)?;
    set::fill(&cluster)?;
    set::assert_same_rows(&cluster, &["mysql-1"])
}
