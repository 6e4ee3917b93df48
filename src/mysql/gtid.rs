//! Comparing MariaDB's GTID positions: `domain-server-sequence`, one for each domain.

use std::collections::BTreeMap;

/// Whether `position` has reached `wanted` in every domain that `wanted` names. Within a domain sequence numbers only
/// grow (`gtid_strict_mode`).
pub fn covers(position: &str, wanted: &str) -> bool {
    let (position, wanted) = (domains(position), domains(wanted));
    wanted.iter().all(|(domain, sequence)| position.get(domain).is_some_and(|reached| reached >= sequence))
}

fn domains(position: &str) -> BTreeMap<u64, u64> {
    let parts = position.split(',').filter_map(|gtid| {
        let mut numbers = gtid.trim().split('-').map(str::parse);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Ok(domain)), Some(_), Some(Ok(sequence))) => Some((domain, sequence)),
            _ => None,
        }
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_by_domain_and_sequence() {
        assert!(covers("0-100-7", "0-100-7"));
        assert!(covers("0-101-8", "0-100-7"));
        assert!(covers("0-100-7,1-2-9", "1-2-3"));
        assert!(covers("0-100-7", ""));
        assert!(covers("", ""));
        assert!(!covers("", "0-100-1"));
        assert!(!covers("0-100-6", "0-100-7"));
        assert!(!covers("0-100-7", "0-100-7,1-2-9"));
    }
}
