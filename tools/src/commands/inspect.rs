//! `cairn inspect`: reads a device offline: its header, its blocks, its records, their checksums.

use std::{
    io::IsTerminal,
    path::PathBuf,
    time::{Duration, Instant},
};

use cairn_engine::{
    Inspection, OpenError,
    device::{IoChoice, IoEngine},
    inspect,
};
use indicatif::{ProgressBar, ProgressDrawTarget};
use serde_json::json;

use crate::{
    failure::{Doing, Failure, Result},
    output::{self, Output, OutputArg},
    units,
};

/// Pieces of damage that a table names.
const DAMAGE_SHOWN: usize = 20;

/// The arguments of `cairn inspect`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The device must not be in use: stop its node first. Nothing is written. The exit status is not 0 when damage was found."
)]
pub struct Args {
    /// A raw device or a file
    path: PathBuf,
    /// Read every record and compare its checksums
    #[arg(long)]
    verify: bool,
    #[command(flatten)]
    output: OutputArg,
}

impl Args {
    /// Inspects and prints.
    pub fn run(self) -> Result {
        let io = IoEngine::choose(IoChoice::Auto).doing("choosing the I/O engine")?;
        let target = match std::io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let start = Instant::now();
        let report = inspect(&self.path, &io, self.verify, &|done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        let report = report.map_err(|error| explain(&error))?;
        match self.output.output {
            Output::Json => output::print_json(&to_json(&report))?,
            Output::Table => print(&report, self.verify, start.elapsed()),
        }
        match report.damage_count {
            0 => Ok(()),
            damage => Err(Failure::new(format!("{damage} pieces of damage were found"))
                .next("keep the device as it is, restore from a replica or a backup; a node serves what is sound")),
        }
    }
}

fn explain(error: &OpenError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        OpenError::Foreign { path, found } => {
            Failure::new(format!("{} is no device of Cairn's: it holds {found}", path.display()))
        }
        OpenError::Io { source, .. } if source.kind() == std::io::ErrorKind::ResourceBusy => {
            failure
                .next("stop the node that uses it; a running node is looked at with `cairn status`")
        }
        _ => failure,
    }
}

/// A device's identity in the usual form.
pub fn uuid(bytes: &[u8; 16]) -> String {
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn print(report: &Inspection, verified: bool, took: Duration) {
    let header = &report.header;
    let mut table = output::table(&[]);
    let place = format!("{} of {}", header.index + 1, header.members.len());
    let blocks = u64::from(header.blocks - 1);
    let share =
        |count: u64| format!("{} ({:.1} %)", units::count(count), units::percent(count, blocks));
    let checkpoint = if header.checkpoint.is_some() { "saved" } else { "not saved" };
    table.add_rows([
        ["namespace", &format!("{} of cluster {}", header.namespace, header.cluster)],
        [
            "device",
            &format!("{}, {place} of set {}", uuid(&header.device), uuid(&header.device_set)),
        ],
        ["header copies", &report.header_copies.join(", ")],
        ["size", &format!("{}, sectors of {} bytes", units::size(report.size), header.sector)],
        [
            "write blocks",
            &format!("{} of {}", units::count(blocks), units::size(header.write_block.into())),
        ],
        ["starts", &units::count(header.incarnation)],
        [
            "last stop",
            &format!(
                "{}, index {checkpoint}",
                if header.clean { "clean" } else { "not clean, or running" }
            ),
        ],
        ["truncations kept", &units::count(header.truncations.len() as u64)],
        ["blocks sealed", &share(report.sealed_blocks)],
        ["blocks unsealed", &share(report.unsealed_blocks)],
        ["blocks of index", &share(report.index_blocks)],
        ["blocks freed", &share(report.freed_blocks)],
        ["blocks never used", &share(report.void_blocks)],
        [
            "record versions",
            &format!("{}, {}", units::count(report.records), units::size(report.record_bytes)),
        ],
        ["tombstones", &units::count(report.tombstones)],
        ["verified", &verified_text(report, verified, took)],
        ["damage", &units::count(report.damage_count)],
    ]);
    println!("{table}");
    for damage in report.damage.iter().take(DAMAGE_SHOWN) {
        println!("damage: {damage}");
    }
    if report.damage_count > DAMAGE_SHOWN as u64 {
        println!("... --output json names more of them");
    }
}

fn verified_text(report: &Inspection, verified: bool, took: Duration) -> String {
    match verified {
        true => format!("{} versions in {}", units::count(report.verified), units::duration(took)),
        false => "headers and footers only; --verify reads everything".into(),
    }
}

fn to_json(report: &Inspection) -> serde_json::Value {
    let header = &report.header;
    json!({
        "namespace": header.namespace,
        "cluster": header.cluster,
        "device": uuid(&header.device),
        "device_set": uuid(&header.device_set),
        "index_in_set": header.index,
        "devices_in_set": header.members.len(),
        "header_copies": report.header_copies,
        "size": report.size,
        "sector": header.sector,
        "write_block_size": header.write_block,
        "write_blocks": header.blocks - 1,
        "incarnation": header.incarnation,
        "clean": header.clean,
        "index_saved": header.checkpoint.is_some(),
        "truncations": header.truncations.len(),
        "sealed_blocks": report.sealed_blocks,
        "unsealed_blocks": report.unsealed_blocks,
        "index_blocks": report.index_blocks,
        "freed_blocks": report.freed_blocks,
        "void_blocks": report.void_blocks,
        "records": report.records,
        "tombstones": report.tombstones,
        "record_bytes": report.record_bytes,
        "verified": report.verified,
        "damage_count": report.damage_count,
        "damage": report.damage,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Identities are printed as other tools print them, so that they can be searched for.
    #[test]
    fn identities_have_the_usual_form() {
        let bytes: [u8; 16] = std::array::from_fn(|i| i as u8 * 17);
        assert_eq!(uuid(&bytes), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
