//! Transactions: what callers see of them, one after the other and at once.

#[path = "../common/mod.rs"]
mod common;
mod plain;
mod scan;
mod steps;
mod threads;

use cairn_engine::{
    Change, Error, Namespace, Sight, Step, Transacted,
    format::ValueRef,
    model::{Key, NEVER, ReadPolicy, Value},
};

const READ: ReadPolicy = ReadPolicy { bypass_cache: false };

/// A record of one number.
fn number(value: i64) -> [(&'static str, ValueRef<'static>); 1] {
    [("b", ValueRef::Int(value))]
}

fn put<'a>(key: &'a Key, seen: Option<&'a Sight>, bins: &'a [(&'a str, ValueRef<'a>)]) -> Step<'a> {
    Step { key, seen, change: Change::Put { bins, void_time: NEVER } }
}

fn delete(key: &Key) -> Step<'_> {
    Step { key, seen: None, change: Change::Delete }
}

fn check<'a>(key: &'a Key, seen: &'a Sight) -> Step<'a> {
    Step { key, seen: Some(seen), change: Change::Check }
}

fn applied(transacted: Result<Transacted, Error>) -> bool {
    match transacted.unwrap() {
        Transacted::Applied(_) => true,
        Transacted::Changed => false,
    }
}

/// The number of a record.
async fn get(namespace: &Namespace, key: &Key) -> Option<i64> {
    let record = namespace.get(key, &READ).await.unwrap()?;
    match common::value_of(&record) {
        Value::Int(number) => Some(number),
        other => panic!("{other:?}"),
    }
}

/// The number that a sight shows.
fn number_of(sight: &Sight) -> i64 {
    match sight.record().unwrap().bin("b").unwrap() {
        Some(ValueRef::Int(number)) => number,
        other => panic!("{other:?}"),
    }
}
