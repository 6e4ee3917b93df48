//! A few rounds of `make torture`, the same in each run.

use anyhow::Result;
use harness::torture::Torture;

#[test]
fn random_kills_leave_replicas_with_the_primarys_rows() -> Result<()> {
    let mut torture = Torture::start(1, 20)?;
    let outcome = torture.run(1..=8);
    print!("{}", torture.summary());
    outcome
}
