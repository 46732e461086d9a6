//! The banner: what a person at a terminal wants to know first.

use std::fmt::Write;

use crate::{
    config::NodeConfig,
    state::{Addresses, Served, State},
};

/// The banner of a node.
pub fn banner(state: &State, addresses: &Addresses) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write(&mut out, state, addresses);
    out
}

fn write(out: &mut String, state: &State, addresses: &Addresses) -> std::fmt::Result {
    let workers = state.workers.len();
    writeln!(out, "Cairn {}, node {}, {workers} workers", crate::VERSION, state.name)?;
    for served in &state.namespaces {
        namespace(out, served)?;
    }
    writeln!(out, "  I/O        {}: {}", state.io.kind, state.io.reason)?;
    writeln!(out, "  gRPC       {}", addresses.grpc)?;
    if let Some(resp) = addresses.resp {
        writeln!(out, "  Redis      {resp}")?;
    }
    writeln!(out, "  HTTP       http://{}/metrics", addresses.http)?;
    let Some(first) = state.namespaces.first() else { return Ok(()) };
    let key = format!("{}/users/ada", first.name);
    let to = match addresses.grpc.port() {
        port if port == NodeConfig::default().grpc_port => String::new(),
        _ => format!(" --host {}", addresses.grpc),
    };
    writeln!(out, "\nTry:\n  cairn put{to} {key} name=Ada born=1815")?;
    writeln!(out, "  cairn get{to} {key}")?;
    writeln!(out, "  cairn status{to}")
}

fn namespace(out: &mut String, served: &Served) -> std::fmt::Result {
    let report = served.engine.report();
    let start = match report.kind {
        cairn_engine::StartKind::Fresh => "new".into(),
        cairn_engine::StartKind::Warm => format!("{} records, warm restart", report.records),
        cairn_engine::StartKind::Cold => format!("{} records, cold start", report.records),
    };
    writeln!(out, "  namespace  {} ({start} in {:.1?})", served.name, report.took)?;
    for device in &served.engine.config().devices {
        let path = std::path::absolute(device.path());
        let path = path.as_deref().unwrap_or(device.path());
        writeln!(out, "             {}", path.display())?;
    }
    if report.damage_count > 0 {
        writeln!(out, "             DAMAGE: {} pieces, see the log", report.damage_count)?;
    }
    Ok(())
}
