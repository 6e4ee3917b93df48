//! Links to what strangers are not shown, good for a while: `mysqlset link` prints one, so that who may run a command in the
//! pod can look at it through `kubectl port-forward`.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::protocol::auth;
use crate::sys::secret::Secret;

/// How long a link is good.
pub const VALID_FOR: Duration = Duration::from_secs(600);

/// What links are made with: random, of this process alone. So is the time, in seconds since it began: a clock that is set
/// back would make an old link good again.
pub struct Links {
    key: Secret,
    begun: Instant,
}

impl Links {
    pub fn new() -> Result<Links> {
        Ok(Links { key: Secret::new(auth::nonce()?), begun: Instant::now() })
    }

    /// What stands behind `?token=` from now on for a while.
    pub fn token(&self) -> String {
        self.token_until(self.now() + VALID_FOR.as_secs())
    }

    /// Whether a request's query has a token that is still good.
    pub fn opens(&self, query: Option<&str>) -> bool {
        self.opens_at(query, self.now())
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    fn token_until(&self, end: u64) -> String {
        format!("{end}-{}", auth::link(&self.key, end))
    }

    fn opens_at(&self, query: Option<&str>, now: u64) -> bool {
        let token = query.into_iter().flat_map(|query| query.split('&')).find_map(|pair| pair.strip_prefix("token="));
        let Some((end, proof)) = token.and_then(|token| token.split_once('-')) else { return false };
        let Ok(end) = end.parse::<u64>() else { return false };
        now < end && end <= now + VALID_FOR.as_secs() && auth::is_link(&self.key, end, proof)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nobody can set it.
    #[test]
    fn a_link_ends_by_the_sidecars_own_time() {
        let links = Links::new().unwrap();
        let token = links.token();
        let (end, _) = token.split_once('-').unwrap();
        assert!((600..660).contains(&end.parse::<u64>().unwrap()), "{end}");
        assert!(links.opens(Some(&format!("token={token}"))));
    }

    #[test]
    fn a_link_is_good_for_a_while_and_for_its_own_sidecar() {
        let links = Links::new().unwrap();
        let token = links.token_until(1000);
        let query = format!("token={token}");
        assert!(links.opens_at(Some(&query), 999) && links.opens_at(Some(&format!("a=b&{query}")), 999));
        assert!(!links.opens_at(Some(&query), 1000), "expired");
        assert!(!links.opens_at(Some(&query), 0), "of longer than we make any");
        assert!(!Links::new().unwrap().opens_at(Some(&query), 999), "another sidecar's");
        let later = query.replacen("1000", "1001", 1);
        for wrong in [
            None,
            Some(""),
            Some("token="),
            Some("token=1000-"),
            Some("token=1000-00"),
            Some("token=é-é"),
            Some(later.as_str()),
        ] {
            assert!(!links.opens_at(wrong, 999), "{wrong:?}");
        }
    }
}
