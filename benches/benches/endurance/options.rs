//! What the person asks for.

use std::path::PathBuf;

use cairn_benches::{keys::Distribution, sizes::Size, subject};
use cairn_engine::format::FOOTER_SHARE;
use cairn_engine::model::Durability;
use clap::Parser;

/// The command line; a child gets the same one, and `--phase`.
#[derive(Parser, Clone)]
#[command(about = "Fills a device and overwrites it many times")]
pub struct Options {
    /// The device file, or a raw device; a file is made, and removed at the end.
    #[arg(long, default_value = "endurance.dat")]
    pub path: PathBuf,
    /// Size of the device, such as 8GiB.
    #[arg(long, default_value = "4GiB")]
    pub size: Size,
    /// How full it is, in per cent of its size.
    #[arg(long, default_value_t = 80, value_parser = clap::value_parser!(u64).range(1..=95))]
    pub fill: u64,
    /// How many times its size is overwritten.
    #[arg(long, default_value_t = 10.0)]
    pub times: f64,
    /// How keys are chosen: uniform or zipf (theta 0.99).
    #[arg(long, default_value = "uniform")]
    pub distribution: Distribution,
    /// What overwrites wait for: buffer or device.
    #[arg(long, default_value = "buffer", value_parser = ["buffer", "device"])]
    pub durability: String,
    /// Bytes of each value, 16 or more.
    #[arg(long, default_value_t = 1024)]
    pub value_size: usize,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    pub threads: u64,
    /// Operations in flight on each thread.
    #[arg(long, default_value_t = 32)]
    pub depth: u64,
    /// First number of all random choices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Writes are refused when more than this share of the space is used, in per cent.
    #[arg(long, default_value_t = 98)]
    pub max_used_pct: u8,
    /// What the process does; the command itself starts the others.
    #[arg(long, hide = true, default_value = "all")]
    pub phase: String,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    pub bench: bool,
}

impl Options {
    /// Keys that make the device as full as asked for.
    pub fn keys(&self) -> u64 {
        self.size.0 * self.fill / 100 / (subject::record_bytes(self.value_size) + FOOTER_SHARE)
    }

    /// What overwrites wait for.
    pub fn durability(&self) -> Durability {
        if self.durability == "device" { Durability::Device } else { Durability::Buffer }
    }

    /// The file of what every record must be.
    pub fn versions(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".versions");
        path.into()
    }
}
