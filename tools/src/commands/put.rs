//! `cairn put`: writes bins of a record.

use cairn_sdk::{Durability, ExistsPolicy, Ttl, Value};

use crate::{
    client::HostArg,
    failure::{Failure, Result},
    json,
    key::KeyArg,
    output::OutputArg,
    units,
};

/// The arguments of `cairn put`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "VALUE is JSON where it reads as JSON (42, 4.2, true, null, \"text\", [..], {..}, {\"$bytes\": \"base64\"}), \
    and text otherwise. null removes the bin. To write the text 42, quote it for JSON: 'n=\"42\"'."
)]
pub struct Args {
    #[command(flatten)]
    key: KeyArg,
    /// Bins to write
    #[arg(value_name = "BIN=VALUE", required = true, value_parser = parse_bin)]
    bins: Vec<(String, Value)>,
    #[command(flatten)]
    ttl: TtlArg,
    /// Only if the record does not exist
    #[arg(long, group = "exists")]
    create_only: bool,
    /// Only if the record exists
    #[arg(long, group = "exists")]
    update_only: bool,
    /// Put this record in the place of the one there is: bins not named are gone
    #[arg(long, group = "exists")]
    replace: bool,
    /// As --replace, but only if the record exists
    #[arg(long, group = "exists")]
    replace_only: bool,
    /// Only if the record has this generation
    #[arg(long)]
    generation: Option<u32>,
    /// Where the write must be before it is acknowledged, instead of the namespace's setting
    #[arg(long, value_parser = parse_durability, value_name = "device|buffer")]
    durability: Option<Durability>,
    #[command(flatten)]
    host: HostArg,
    #[command(flatten)]
    output: OutputArg,
}

/// The lifetime a write gives.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct TtlArg {
    /// Lifetime: 90s, 15m, 12h, 30d, "never" or "keep"; otherwise the namespace's default-ttl
    #[arg(long, value_parser = parse_ttl)]
    ttl: Option<Ttl>,
}

impl TtlArg {
    /// The lifetime asked for.
    pub fn ttl(self) -> Ttl {
        self.ttl.unwrap_or_default()
    }
}

/// Parses a lifetime: a duration of at least a second, `never` or `keep`.
pub fn parse_ttl(text: &str) -> Result<Ttl, String> {
    match text {
        "never" | "0" => Ok(Ttl::Never),
        "keep" => Ok(Ttl::Keep),
        text => units::parse_duration(text).map(Ttl::In),
    }
}

/// Parses a durability.
pub fn parse_durability(text: &str) -> Result<Durability, String> {
    match text {
        "device" => Ok(Durability::Device),
        "buffer" => Ok(Durability::Buffer),
        other => Err(format!("{other:?} is neither device nor buffer")),
    }
}

fn parse_bin(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it as BIN=VALUE")?;
    Ok((name.into(), json::parse_argument(value)?))
}

impl Args {
    /// Writes the bins.
    pub fn run(self) -> Result {
        let key = self.key.parse()?;
        let exists = match (self.create_only, self.update_only, self.replace, self.replace_only) {
            (true, ..) => ExistsPolicy::CreateOnly,
            (_, true, ..) => ExistsPolicy::UpdateOnly,
            (_, _, true, _) => ExistsPolicy::Replace,
            (.., true) => ExistsPolicy::ReplaceOnly,
            _ => ExistsPolicy::Update,
        };
        self.host.run(|client| async move {
            let mut put = client.put(&key, self.bins).ttl(self.ttl.ttl()).exists(exists);
            if let Some(generation) = self.generation {
                put = put.generation(generation);
            }
            if let Some(durability) = self.durability {
                put = put.durability(durability);
            }
            let written = put.await.map_err(Failure::from)?;
            self.output.written(&key, &written)
        })
    }
}
