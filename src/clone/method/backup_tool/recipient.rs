//! Receives a backup tool's stream: unpacks it to its end mark, and accepts the data only then.

use std::path::Path;
use std::time::Instant;

use super::server_options;
use super::writer_of;
use crate::clone::connection::Incoming;
use crate::clone::recipient::failed_attempt::{Setback, check_file_size, setback_of, setback_of_wire};
use crate::clone::recipient::received::{Means, Received, checked_inventory, inventory_file};
use crate::datadir::backup_metadata;
use crate::model::event::info;
use crate::model::exit::{self, Reason};
use crate::model::host::HostPort;
use crate::model::ordinal::Ordinal;
use crate::model::position::Position;
use crate::observe::progress::Progress;
use crate::protocol::message::Offer;
use crate::sys::limits::Descriptors;
use crate::unpack::{self, Format};

/// Checks the limit on descriptors, because prepare keeps all files open. If the donor leaves out the number, the files
/// are counted before prepare.
fn check_descriptors(offer: &Offer) -> anyhow::Result<()> {
    let Some(files) = offer.files else { return Ok(()) };
    Descriptors::for_files(files).map(drop).map_err(|too_few| Reason::Limit.because(too_few))
}

/// Checks the offer, unpacks the stream to its end, and accepts the data only then.
pub(in crate::clone) fn receive(incoming: Incoming, donor: &HostPort, means: &Means<'_>) -> Result<Received, Setback> {
    check_descriptors(&incoming.offer).map_err(Setback::Fatal)?;
    check_file_size(incoming.offer.largest_file)?;
    let directory = &(means.stage)().map_err(Setback::Fatal)?;
    let started = Instant::now();
    let Incoming { offer, mut data } = incoming;
    info!(
        ReceiveBegun,
        pod = offer.pod,
        tool = offer.tool,
        server = offer.server,
        format = %offer.format,
        expected_bytes = offer.expected_bytes,
        packing = offer.packing,
        "receiving"
    );
    data.collect_inventory(inventory_file(&(means.inventory)())?);
    let progress = Progress::of_bytes("receiving", offer.expected_bytes);
    let unpacked = unpack::unpack_by(means.writing, offer.format, progress.watch(&mut data), directory);
    drop(progress);
    let bytes = data.bytes();
    let summary = unpacked.map_err(|error| setback_of(error, bytes))?;
    let broken = |why: String| Setback::Broken { why, bytes };
    let end = data.finish().map_err(|error| setback_of_wire(error, bytes))?;
    let inventory = checked_inventory(&(means.inventory)(), &end, bytes)?;
    summary.require_backup_metadata().map_err(|error| broken(error.to_string()))?;
    rebuild_settings(directory, means)?;
    let position = position_of(Ordinal(offer.ordinal), offer.format, directory).map_err(Setback::Unusable)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(
        ReceiveDone,
        bytes,
        seconds,
        files = summary.files,
        position = end.position,
        "clone received; its end mark and digest match"
    );
    Ok(Received {
        donor: donor.clone(),
        donor_pod: offer.pod,
        tool: offer.tool,
        set_id: offer.set_id,
        lineage: offer.lineage,
        bytes,
        seconds,
        position: Some(position),
        plugin: None,
        inventory,
    })
}

/// Replaces the backup's settings with this side's own. Content that no tool writes is the donor's fault.
pub(in crate::clone) fn rebuild_settings(data: &Path, means: &Means<'_>) -> Result<(), Setback> {
    server_options::rebuild(data, means.keys).map_err(|error| match exit::reason_of(&error) {
        Some(Reason::Refused) => Setback::Unusable(error),
        _ => Setback::Fatal(error),
    })
}

/// The position that came with a backup: a primary's own, or a replica's position at its source. Each may also contain
/// the other file, with coordinates that are wrong for a clone.
pub(in crate::clone) fn position_of(donor: Ordinal, format: Format, data: &Path) -> anyhow::Result<Position> {
    if donor == Ordinal::PRIMARY {
        backup_metadata::position_of_primary(data, writer_of(format))
    } else {
        backup_metadata::position_of_source(data)
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::*;

    #[test]
    fn an_offer_beyond_the_descriptor_limit_ends_with_both_numbers() {
        let offer = |files| {
            let text = r#"{"pod":"mysql-0","ordinal":0,"format":"xbstream-mariadb","tool":"","server":"","heartbeat_seconds":5}"#;
            Offer { files, ..serde_json::from_str(text).unwrap() }
        };
        assert!(check_descriptors(&offer(None)).is_ok() && check_descriptors(&offer(Some(3))).is_ok());
        if let Some(hard) = getrlimit(Resource::Nofile).maximum {
            let error = check_descriptors(&offer(Some(hard))).unwrap_err();
            assert_eq!(exit::reason_of(&error), Some(Reason::Limit));
            let text = error.to_string();
            assert!(text.contains(&format!("{hard} InnoDB files")) && text.contains(&format!("is {hard}:")), "{text}");
        }
    }
}
