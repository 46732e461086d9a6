//! The settings of one namespace, as the engine needs them.

use std::{path::PathBuf, time::Duration};

use crate::model::{CommitLevel, Durability, limits};

/// One device of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceConfig {
    /// A raw block device.
    Raw(PathBuf),
    /// A file; created with `size` bytes when it does not exist.
    File {
        /// Where it is.
        path: PathBuf,
        /// Its size in bytes when it is created.
        size: u64,
    },
}

impl DeviceConfig {
    /// The device's path.
    pub fn path(&self) -> &std::path::Path {
        match self {
            Self::Raw(path) | Self::File { path, .. } => path,
        }
    }
}

/// The settings of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceConfig {
    /// Its name, 1 to [`limits::NAMESPACE_NAME_MAX`] bytes.
    pub name: String,
    /// The cluster its devices belong to, 1 to 31 bytes.
    pub cluster: String,
    /// What an acknowledgement means unless a write asks for something else.
    pub durability: Durability,
    /// Which copies an acknowledgement stands for.
    pub commit_level: CommitLevel,
    /// Lifetime of records written with [`Ttl::Default`](crate::model::Ttl::Default), in milliseconds; 0 for ever.
    pub default_ttl_ms: u64,
    /// Largest record in bytes, header and key included. What fits one write block bounds it too.
    pub max_record_size: u64,
    /// Where the records lie, 1 to [`limits::DEVICES_MAX`].
    pub devices: Vec<DeviceConfig>,
    /// Unit of allocation and reclaim: a power of two from [`limits::WRITE_BLOCK_MIN`] to [`limits::WRITE_BLOCK_MAX`].
    pub write_block_size: u64,
    /// How much is written at once when no write waits: a power of two from [`limits::FLUSH_MIN`] to `write_block_size`.
    pub flush_size: u64,
    /// The longest that a record written with durability `buffer` stays in RAM alone.
    pub flush_max: Duration,
    /// Bytes of recently written blocks kept in RAM for reads.
    pub post_write_cache: u64,
    /// Writes are refused when more than this share of the space is used, 1 to 100.
    pub max_used_pct: u8,
    /// Records that expire are evicted, those nearest to their end first, when more than this share of the space is used: 1 to 100; 0 for
    /// never.
    pub evict_used_pct: u8,
}

impl NamespaceConfig {
    /// Settings with the documented defaults for a namespace on `devices`.
    pub fn new(name: impl Into<String>, devices: Vec<DeviceConfig>) -> Self {
        Self {
            name: name.into(),
            cluster: "cairn".into(),
            durability: Durability::Device,
            commit_level: CommitLevel::All,
            default_ttl_ms: 0,
            max_record_size: 1 << 20,
            devices,
            write_block_size: 1 << 20,
            flush_size: 128 << 10,
            flush_max: Duration::from_secs(1),
            post_write_cache: 64 << 20,
            max_used_pct: 90,
            evict_used_pct: 0,
        }
    }

    /// The first setting that cannot work, in words.
    pub fn check(&self) -> Result<(), String> {
        let block = self.write_block_size;
        let ok = |fine: bool, what: String| if fine { Ok(()) } else { Err(what) };
        ok(
            (1..=limits::NAMESPACE_NAME_MAX).contains(&self.name.len())
                && self.name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
            format!("name {:?}: 1 to 31 letters, digits, '-', '_' or '.'", self.name),
        )?;
        ok(
            (1..=31).contains(&self.cluster.len()),
            format!("cluster {:?}: 1 to 31 bytes", self.cluster),
        )?;
        ok(
            (1..=limits::DEVICES_MAX).contains(&self.devices.len()),
            format!("{} devices: 1 to {} are possible", self.devices.len(), limits::DEVICES_MAX),
        )?;
        ok(
            block.is_power_of_two()
                && (limits::WRITE_BLOCK_MIN..=limits::WRITE_BLOCK_MAX).contains(&block),
            format!("write-block-size {block}: a power of two from 16 KiB to 16 MiB"),
        )?;
        ok(
            self.flush_size.is_power_of_two()
                && (limits::FLUSH_MIN..=block).contains(&self.flush_size),
            format!(
                "flush-size {}: a power of two from 4 KiB to write-block-size",
                self.flush_size
            ),
        )?;
        ok(
            (1..=100).contains(&self.max_used_pct),
            format!("max-used-pct {}: 1 to 100", self.max_used_pct),
        )?;
        ok(
            self.evict_used_pct <= 100,
            format!("evict-used-pct {}: 0 to 100", self.evict_used_pct),
        )?;
        ok(self.max_record_size >= 1024, "max-record-size: at least 1 KiB".to_string())
    }
}
