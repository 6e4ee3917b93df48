//! The inventory of 20,000 tables: how long a donor's server takes to list them, and a recipient to read their first pages.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use mysqlset::clone::completeness::{Copy, Verdict};
use mysqlset::server;
use mysqlset::server::inventory::{Extent, look};
use tokio::runtime::Builder;

use crate::data::Database;
use crate::figures::Figures;
use crate::member::PRIMARY;
use crate::recipient::Volume;
use crate::server::{IDLE, Server};

pub fn measure(database: &Database, work: &Path, runs: usize, figures: &mut Figures) -> Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    for run in 1..=runs {
        // On a copy: the server writes.
        let volume = Volume::new(work)?;
        std::fs::create_dir(volume.stage())?;
        let data_dir = volume.staged_data();
        crate::rehearsal::copy(&database.data_dir, &data_dir)?;
        let server = Server::start(&data_dir, work, &PRIMARY, &IDLE)?;
        let socket = work.join(format!("{}-server.sock", PRIMARY.name));
        let (found, listed) = runtime.block_on(async {
            let mut asked = server::Server::connect_to_own(&socket).await?;
            let begun = Instant::now();
            let found = look(&mut asked, "root", &data_dir, Extent::AllEngines).await;
            let listed = begun.elapsed().as_secs_f64();
            asked.close().await;
            Ok::<_, anyhow::Error>((found.context("listing the tables")?, listed))
        })?;
        server.stop()?;
        let inventory = found.and(&found);
        let begun = Instant::now();
        let verdict = Copy::of(&data_dir, &inventory)?.compare(&inventory);
        let read = begun.elapsed().as_secs_f64();
        ensure!(verdict == Verdict::Whole, "{verdict}");
        println!("inventory {run}: {} entries; listed {listed:6.2} s, compared {read:6.2} s", inventory.entries.len());
        volume.remove()?;
        figures.ours("inventory.look_wall", listed);
        figures.ours("inventory.headers_wall", read);
    }
    Ok(())
}
