//! `cairn load --check`: reads every record of a file back and compares it, bin by bin, with the last line of its key.

use std::collections::{HashMap, HashSet};

use cairn_sdk::{Client, Key};
use futures::{StreamExt, stream::FuturesUnordered};

use super::{
    line::Line,
    report::Report,
    source::{Item, Source},
};
use crate::failure::{Failure, Result};

/// What the lines say that the records do not.
#[derive(Default)]
struct Differences {
    /// Keys whose latest line read so far is not what the node has, and why.
    wrong: HashMap<Key, (u64, String)>,
    malformed: u64,
}

/// Compares; fails when a record differs from the last line of its key.
pub async fn check(
    client: &Client,
    mut source: Source,
    mut report: Report,
    concurrency: usize,
) -> Result {
    let mut flying = FuturesUnordered::new();
    let mut flying_keys = HashSet::new();
    let mut differences = Differences::default();
    let mut held: Option<(u64, Line)> = None;
    let mut more = true;
    while more || held.is_some() || !flying.is_empty() {
        // Lines of one key are compared in their order: a later one takes the place of those before.
        if let Some((line, record)) =
            held.take_if(|(_, record)| !flying_keys.contains(record.key()))
        {
            flying_keys.insert(record.key().clone());
            flying.push(record.compare(client, line));
        }
        let room = flying.len() < concurrency && held.is_none();
        tokio::select! {
            biased;
            Some((line, key, compared)) = flying.next(), if !flying.is_empty() => {
                flying_keys.remove(&key);
                report.loaded();
                match compared {
                    Ok(()) => drop(differences.wrong.remove(&key)),
                    Err(why) => drop(differences.wrong.insert(key, (line, why))),
                }
            }
            next = source.next(), if more && room => match next.transpose()? {
                None => more = false,
                Some(Item { line, record: Ok(Some(record)) }) => held = Some((line, record)),
                Some(Item { record: Ok(None), .. }) => {}
                Some(Item { line, record: Err(why) }) => {
                    differences.malformed += 1;
                    report.failed(line, &why);
                }
            },
        }
    }
    source.finished();
    differences.conclude(report)
}

impl Differences {
    fn conclude(self, mut report: Report) -> Result {
        let mut wrong: Vec<(u64, String)> = self.wrong.into_values().collect();
        wrong.sort();
        for (line, why) in &wrong {
            report.failed(*line, why);
        }
        report.finish();
        if wrong.is_empty() && self.malformed == 0 {
            println!("every record is what the last line of its key says");
            return Ok(());
        }
        Err(Failure::new(format!(
            "{} records differ from the last line of their key, {} lines are malformed",
            wrong.len(),
            self.malformed
        ))
        .next("load the file again; records that were changed since are among those that differ"))
    }
}
