//! A clone of the tutorial's donor, which says nothing about what it sends: not who it is, not how much it is, not that it
//! was all.
//!
//! It is taken for whole where the connection is closed, and not reset, right between two chunks, with each file ended and
//! the files there that a backup tool writes last; after prepare its log is compared with what the tool recorded, as in
//! every clone. What a stranger makes up passes all that.

use std::path::Path;
use std::time::Instant;

use super::REFUSED;
use crate::clone::connection::{self, Asker};
use crate::clone::method::backup_tool;
use crate::clone::method::backup_tool::recipient::{position_of, rebuild_settings};
use crate::clone::recipient::received::{Means, Received};
use crate::clone::recipient::setback::{Setback, setback_of};
use crate::datadir::backup_metadata;
use crate::datadir::journal::ListedBy;
use crate::model::event::{info, warn};
use crate::model::exit::Reason;
use crate::model::host::HostPort;
use crate::model::ordinal::{Member, Ordinal};
use crate::model::position::Position;
use crate::observe::progress::Progress;
use crate::unpack::{self, Format};

/// The stream as this side's own tool would write it, unpacked to its end. `is_bare` says afterwards whether the donor
/// still seems to be the tutorial's.
pub fn receive(
    asker: &Asker<'_>,
    donor: &HostPort,
    is_bare: &mut bool,
    means: &Means<'_>,
) -> Result<Received, Setback> {
    let Some(format) = asker.formats.first().copied() else {
        return Err(Setback::Unacceptable(REFUSED.to_owned()));
    };
    // However this ends: who has been asked what it is must not be asked again.
    *is_bare = true;
    let stream = connection::take_bare_stream(donor, asker.peering.stall_timeout)
        .map_err(|silence| Setback::of(silence, asker.peering.secret.is_some()))?;
    *is_bare = stream.is_some();
    let Some(mut stream) = stream else {
        let why = "it hangs up without a byte: it serves another, or its backup tool fails";
        return Err(Setback::Unreachable(why.to_owned()));
    };
    let directory = (means.stage)().map_err(Setback::Fatal)?;
    warn!(
        ReceiveUnprovenBegun,
        %format,
        "receiving from a donor that is no mysqlset (--take-unproven-stream): nothing proves who it is, whose data these \
         are, or that they come undamaged"
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
    info!(ReceiveUnprovenDone, bytes, seconds, files = summary.files, %position, "received, whole as far as can be seen");
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

/// Nobody could compare the tools before.
fn check_maker(own_series: Option<&str>, data: &Path) -> anyhow::Result<()> {
    match (own_series, backup_metadata::series_of_maker(data)?) {
        (Some(ours), Some(theirs)) if ours != theirs => Err(Reason::Refused.error(format!(
            "the donor copies with a backup tool of {theirs}, and this side would prepare with one of {ours}"
        ))),
        _ => Ok(()),
    }
}

/// By the donor's name, where that is a pod's of this set. Else by the tutorial's rule: a backup that says where its
/// source was is a replica's.
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
    fn a_backup_of_another_series_is_not_prepared() {
        let directory = tempfile::tempdir().unwrap();
        check_maker(Some("8.0"), directory.path()).unwrap();
        std::fs::write(directory.path().join("xtrabackup_info"), "tool_version = 2.4.29\n").unwrap();
        check_maker(Some("2.4"), directory.path()).unwrap();
        check_maker(None, directory.path()).unwrap();
        let error = check_maker(Some("8.0"), directory.path()).unwrap_err().to_string();
        assert!(error.contains("of 2.4") && error.contains("of 8.0"), "{error}");
    }

    #[test]
    fn the_donors_name_says_which_position_counts_else_the_files_do() {
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
