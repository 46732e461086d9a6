//! `cairn format`: prepares raw devices or files for a namespace.

use std::{os::unix::fs::FileTypeExt, path::PathBuf};

use cairn_engine::{
    DeviceConfig, NamespaceConfig, OpenError, OpenOptions,
    device::{IoChoice, IoEngine},
    prepare,
};

use crate::{
    failure::{Doing, Failure, Result},
    output, units,
};

/// The arguments of `cairn format`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "All paths become one set: the devices of one namespace on one node. Nothing is written unless every one of \
    them is blank or named with --force."
)]
pub struct Args {
    /// Raw block devices, or files; a file that does not exist is created with --size
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The namespace they are for
    #[arg(long)]
    namespace: String,
    /// The cluster they are for
    #[arg(long, default_value = "cairn")]
    cluster_name: String,
    /// Unit of allocation and reclaim
    #[arg(long, default_value = "1MiB", value_parser = units::parse_size)]
    write_block_size: u64,
    /// Size of files that are created
    #[arg(long, value_parser = units::parse_size)]
    size: Option<u64>,
    /// Format this path although it holds something; name each such path
    #[arg(long, value_name = "PATH")]
    force: Vec<PathBuf>,
}

impl Args {
    /// Looks at all devices, then writes their headers.
    pub fn run(self) -> Result {
        if let Some(stray) = self.force.iter().find(|path| !self.paths.contains(path)) {
            return Err(Failure::new(format!(
                "--force {}: not one of the paths to format",
                stray.display()
            )));
        }
        let devices =
            self.paths.iter().map(|path| self.device(path)).collect::<Result<Vec<_>>>()?;
        let mut config = NamespaceConfig::new(&self.namespace, devices);
        config.cluster.clone_from(&self.cluster_name);
        config.write_block_size = self.write_block_size;
        config.flush_size = config.flush_size.min(self.write_block_size);
        let io = IoEngine::choose(IoChoice::Auto).doing("choosing the I/O engine")?;
        let headers = prepare(&config, &OpenOptions::new(io), &self.force)
            .map_err(|error| explain(&error))?;
        let mut table = output::table(&["path", "size", "sector", "write blocks", "device"]);
        for (path, header) in self.paths.iter().zip(&headers) {
            table.add_row([
                path.display().to_string(),
                units::size(header.size),
                units::size(header.sector.into()),
                units::count((header.blocks - 1).into()),
                super::inspect::uuid(&header.device),
            ]);
        }
        println!("{table}");
        println!("ready for namespace {:?} of cluster {:?}", self.namespace, self.cluster_name);
        Ok(())
    }

    fn device(&self, path: &PathBuf) -> Result<DeviceConfig> {
        match std::fs::metadata(path) {
            Ok(found) if found.file_type().is_block_device() => Ok(DeviceConfig::Raw(path.clone())),
            Ok(found) if found.is_file() => {
                Ok(DeviceConfig::File { path: path.clone(), size: found.len() })
            }
            Ok(_) => {
                Err(Failure::new(format!("{}: neither a block device nor a file", path.display())))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => match self.size {
                Some(size) => Ok(DeviceConfig::File { path: path.clone(), size }),
                None => Err(Failure::new(format!("{} does not exist", path.display()))
                    .next("--size creates it as a file of that size")),
            },
            Err(error) => Err(error).doing(path.display()),
        }
    }
}

fn explain(error: &OpenError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        OpenError::Foreign { path, .. } => failure.next(format!(
            "look at it with `cairn inspect {0}` or blkid; --force {0} overwrites it",
            path.display()
        )),
        _ => failure,
    }
}
