//! One line of a load: JSON in, a record to write out.

use std::time::Duration;

use cairn_sdk::{Client, Durability, Key, Record, Ttl, Value};
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

use crate::json::{FromJson, value_to_user_key};

/// What lines that say nothing about it get.
#[derive(Clone, Debug, Default)]
pub struct Defaults {
    /// The namespace.
    pub namespace: Option<String>,
    /// The set.
    pub set: Option<String>,
}

/// A record to load.
#[derive(Debug, PartialEq)]
pub struct Line {
    key: Key,
    bins: Vec<(String, Value)>,
    ttl: Ttl,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    namespace: Option<String>,
    set: Option<String>,
    key: FromJson,
    bins: Bins,
    ttl: Option<u64>,
    /// What `cairn scan` prints beside; the record gets a generation of its own.
    #[serde(rename = "generation")]
    _generation: Option<u32>,
}

impl Line {
    /// Parses a line; the error says what is wrong with it.
    pub fn parse(text: &[u8], defaults: &Defaults) -> Result<Self, String> {
        let raw: Raw = serde_json::from_slice(text).map_err(|error| explain(&error))?;
        let namespace = raw.namespace.or_else(|| defaults.namespace.clone());
        let namespace =
            namespace.ok_or("the line names no namespace, and --namespace was not given")?;
        let set = raw.set.or_else(|| defaults.set.clone()).unwrap_or_default();
        let key = Key::new(namespace, set, value_to_user_key(raw.key.0)?);
        let ttl = match raw.ttl {
            None => Ttl::Default,
            Some(0) => Ttl::Never,
            Some(seconds) => Ttl::In(Duration::from_secs(seconds)),
        };
        Ok(Self { key, bins: raw.bins.0, ttl })
    }

    /// The record's key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// Writes the record in the place of the one there may be. Answers with the line's number and key.
    pub async fn put(
        self,
        client: &Client,
        line: u64,
        durability: Option<Durability>,
    ) -> (u64, Key, Result<(), String>) {
        let mut put = client.put(&self.key, self.bins).ttl(self.ttl).replace();
        if let Some(durability) = durability {
            put = put.durability(durability);
        }
        let result = put.await.map(drop).map_err(|error| format!("{}: {error}", self.key));
        (line, self.key, result)
    }

    /// Compares the record with the one the node has. Answers with the line's number and key.
    pub async fn compare(self, client: &Client, line: u64) -> (u64, Key, Result<(), String>) {
        let result = match client.get(&self.key).await {
            Err(error) => Err(format!("{}: {error}", self.key)),
            Ok(None) => Err(format!("{}: there is no such record", self.key)),
            Ok(Some(found)) => self.difference(&found).map_or(Ok(()), Err),
        };
        (line, self.key, result)
    }

    fn difference(&self, found: &Record) -> Option<String> {
        let differs = |(name, value): &&(String, Value)| found.get(name) != Some(value);
        if let Some((name, _)) = self.bins.iter().find(differs) {
            return Some(format!("{}: bin {name:?} differs", self.key));
        }
        let (lines, has) = (self.bins.len(), found.bins.len());
        (lines != has).then(|| format!("{}: the line has {lines} bins, the record {has}", self.key))
    }
}

/// What is wrong, without the line number of the parser, which knows one line only.
fn explain(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

/// Bins in the order of the line.
struct Bins(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Bins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BinsVisitor;
        impl<'de> Visitor<'de> for BinsVisitor {
            type Value = Bins;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of bins")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bins, A::Error> {
                let mut bins = Vec::new();
                while let Some((name, FromJson(value))) = map.next_entry::<String, FromJson>()? {
                    bins.push((name, value));
                }
                Ok(Bins(bins))
            }
        }
        deserializer.deserialize_map(BinsVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Line, String> {
        Line::parse(text.as_bytes(), &Defaults::default())
    }

    /// A line becomes the record it describes: key, bins of every kind in order, lifetime.
    #[test]
    fn lines_become_records() {
        let line = parse(
            r#"{"namespace":"test","set":"s","key":"k","bins":{"z":1,"a":[true,{"$bytes":"AA=="}]},"ttl":60}"#,
        );
        let list = Value::List(vec![true.into(), vec![0u8].into()]);
        let bins = vec![("z".to_string(), 1.into()), ("a".to_string(), list)];
        let ttl = Ttl::In(Duration::from_secs(60));
        assert_eq!(line, Ok(Line { key: Key::new("test", "s", "k"), bins, ttl }));
        let number =
            parse(r#"{"namespace":"n","key":-3,"bins":{},"ttl":0,"generation":4}"#).unwrap();
        assert_eq!((number.key, number.ttl), (Key::new("n", "", -3), Ttl::Never));
    }

    /// A line that is not understood is refused, not half loaded.
    #[test]
    fn malformed_lines_are_refused() {
        for text in [
            "",
            "{}",
            "nonsense",
            r#"{"key":"k","bins":{}}"#,
            r#"{"namespace":"n","key":1.5,"bins":{}}"#,
            r#"{"namespace":"n","key":"k","bins":[]}"#,
            r#"{"namespace":"n","key":"k","bins":{},"tll":1}"#,
            r#"{"namespace":"n","key":"k","bins":{},"ttl":-1}"#,
            r#"{"namespace":"n","key":"k","bins":{}} x"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let defaults = Defaults { namespace: Some("n".into()), set: None };
        assert!(Line::parse(br#"{"key":"k","bins":{}}"#, &defaults).is_ok());
    }
}
