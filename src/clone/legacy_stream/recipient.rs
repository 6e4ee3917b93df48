//! Receives a clone from a legacy donor. Its stream leaves the sender, the length and the end unstated.
//!
//! The stream counts as complete if the connection is closed by an orderly end, exactly between two chunks. Each file
//! must have ended, and the files that a backup tool writes last must exist. After prepare its log is compared with the
//! tool's record, as in every clone. A stranger's forgery would pass all these checks.

use std::path::Path;
use std::time::Instant;

use super::REFUSED;
use crate::clone::connection::{self, Asker};
use crate::clone::method::backup_tool;
use crate::clone::method::backup_tool::recipient::{position_of, rebuild_settings};
use crate::clone::recipient::failed_attempt::{Setback, setback_of};
use crate::clone::recipient::received::{Means, Received};
use crate::datadir::backup_metadata;
use crate::datadir::journal::ListedBy;
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::model::position::Position;
use crate::observe::progress::Progress;
use crate::unpack::{self, Format};

/// Unpacks the stream to its end, in the format of this side's own tool. Afterwards `is_legacy` tells whether the donor
/// still looks like a legacy donor.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    is_legacy: &mut bool,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    let Some(format) = asker.formats.first().copied() else {
        return Err(Setback::Unacceptable(REFUSED.to_owned()));
    };
    // For every outcome: a second handshake would break off another backup at this donor.
    *is_legacy = true;
    let stream = connection::take_legacy_stream(donor, asker.peering.stall_timeout)
        .map_err(|silence| Setback::of(silence, asker.peering.secret.is_some()))?;
    *is_legacy = stream.is_some();
    let Some(mut stream) = stream else {
        let why = "it hung up before the first byte: it serves another recipient, or its backup tool fails";
        return Err(Setback::Unreachable(why.to_owned()));
    };
    let directory = (means.stage)().map_err(Setback::Fatal)?;
    warn!(
        ReceiveUnprovenBegun,
        %format,
        "receiving a legacy stream (--take-unproven-stream): the donor's identity, the data's set and its integrity are \
         unproven"
    );
    let started = Instant::now();
    let progress = Progress::of("receiving");
    let unpacked = unpack::unpack_by(means.writing, format, progress.watch(&mut stream), &directory);
    drop(progress);
    let bytes = stream.bytes();
    let summary = unpacked.map_err(|error| setback_of(error, bytes))?;
    summary.require_backup_metadata().map_err(|error| Setback::Broken { why: error.to_string(), bytes })?;
    rebuild_settings(&directory, means)?;
    check_maker(asker.site.tool_series.as_deref(), &directory).map_err(Setback::Unusable)?;
    let position = position_from(donor, asker.member, format, &directory).map_err(Setback::Unusable)?;
    let seconds = started.elapsed().as_secs_f64();
    info!(ReceiveUnprovenDone, bytes, seconds, files = summary.files, %position, "clone received from a legacy stream; its completeness is unproven");
    Ok(Received {
        donor: donor.clone(),
        donor_pod: donor.host.split('.').next().unwrap_or_default().to_owned(),
        tool: format!("unknown, {format}"),
        set_id: None,
        lineage: None,
        bytes,
        seconds,
        position: Some(position),
        plugin: None,
        inventory: ListedBy::LegacyStream,
    })
}

/// Compares the tools' series: this is the first moment when both are known.
fn check_maker(own_series: Option<&str>, data: &Path) -> anyhow::Result<()> {
    match (own_series, backup_metadata::series_of_maker(data)?) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(Reason::Refused.error(format!(
            "the donor copies with a backup tool of {theirs}, but this side prepares with one of {ours}"
        ))),
        _ => Ok(()),
    }
}

/// Decides by the donor's name if it is a pod of this set. Otherwise by the tutorial's rule: a backup that records its
/// source's position is a replica's.
fn position_from(donor: &HostPort, member: &Member, format: Format, data: &Path) -> anyhow::Result<Position> {
    match ordinal_of(donor, member) {
        Some(ordinal) => position_of(ordinal, format, data),
        None if backup_metadata::has_source(data)? => backup_metadata::position_of_source(data),
        None => backup_metadata::position_of_primary(data, backup_tool::writer_of(format)),
    }
}

fn ordinal_of(donor: &HostPort, member: &Member) -> Option<Ordinal> {
    let named = Member::from_hostname(&donor.host).ok()?;
    (named.set == member.set).then_some(named.ordinal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(donor: &str, files: &[(&str, &str)]) -> anyhow::Result<Position> {
        let directory = tempfile::tempdir()?;
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text)?;
        }
        let donor = HostPort { host: donor.to_owned(), port: 3307 };
        position_from(&donor, &Member::from_hostname("mysql-3")?, Format::XbstreamMariaDb, directory.path())
    }

    #[test]
    fn a_backup_of_another_series_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        check_maker(Some("8.0"), directory.path()).unwrap();
        std::fs::write(directory.path().join("xtrabackup_info"), "tool_version = 2.4.29\n").unwrap();
        check_maker(Some("2.4"), directory.path()).unwrap();
        check_maker(None, directory.path()).unwrap();
        let error = check_maker(Some("8.0"), directory.path()).unwrap_err().to_string();
        assert!(error.contains("of 2.4") && error.contains("of 8.0"), "{error}");
    }

    #[test]
    fn the_donors_name_decides_the_position_and_otherwise_the_files() {
        let own = ("xtrabackup_binlog_info", "mysql-bin.000001\t330\t0-100-7\n");
        let sources = ("xtrabackup_slave_info", "SET GLOBAL gtid_slave_pos = '0-100-5';\n");
        let gtid = |slave_pos: &str| Position::MariadbGtid { slave_pos: slave_pos.to_owned() };
        for donor in ["mysql-0.mysql", "mysql-0"] {
            assert_eq!(position(donor, &[own, sources]).unwrap(), gtid("0-100-7"));
        }
        for donor in ["mysql-1.mysql", "10.0.0.7", "other-0.mysql", "donor"] {
            assert_eq!(position(donor, &[own, sources]).unwrap(), gtid("0-100-5"), "{donor}");
        }
        assert_eq!(position("10.0.0.7", &[own, ("xtrabackup_slave_info", "\n")]).unwrap(), gtid("0-100-7"));
        assert_eq!(position("10.0.0.7", &[own]).unwrap(), gtid("0-100-7"));
        assert!(position("mysql-1.mysql", &[own]).unwrap_err().to_string().contains("the donor is a replica"));
    }
}
