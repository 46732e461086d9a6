//! The Redis door's settings: what they are, how they are checked, how they are written back.

use std::{
    fmt::Write,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    NamespaceSettings,
    check::{Bad, Checked, bad, number, size, time},
    format_duration, format_size,
    raw::{Port, Resp},
};

/// Smallest bound on a request.
const REQUEST_MIN: u64 = 64 << 10;
/// Largest bound on a request.
const REQUEST_MAX: u64 = 512 << 20;

/// The Redis door.
#[derive(Clone, Debug, PartialEq)]
pub struct RespConfig {
    /// The address it listens on: loopback, unless there is a password.
    pub listen: IpAddr,
    /// Its port; `None` for no such door, 0 lets the operating system choose.
    pub port: Option<u16>,
    /// The namespace it serves; `None` for the first.
    pub namespace: Option<String>,
    /// What clients must say; `None` for nothing.
    pub password: Option<Secret>,
    /// Connections of the node through this door.
    pub max_connections: usize,
    /// A connection that is silent for so long is closed; zero for never.
    pub idle_timeout: Duration,
    /// Whether connections gather on as few workers as carry them; else they are spread over all when they come, and stay.
    pub gather: bool,
    /// Bytes of answers that a connection holds while its client does not read, before it takes no more commands.
    pub output_buffer: u64,
    /// Bytes of one request, and so of one argument.
    pub request_max: u64,
}

/// A password: compared and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// A password of these characters.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether this is the password. Takes the same time however much of it is right.
    pub fn is(&self, given: &[u8]) -> bool {
        let wanted = self.0.as_bytes();
        let differ = wanted.iter().zip(given).fold(0, |differ, (a, b)| differ | (a ^ b));
        std::hint::black_box(differ) == 0 && wanted.len() == given.len()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Default for RespConfig {
    fn default() -> Self {
        Self {
            listen: Ipv4Addr::LOCALHOST.into(),
            port: Some(6379),
            namespace: None,
            password: None,
            max_connections: 10_000,
            idle_timeout: Duration::ZERO,
            gather: true,
            output_buffer: 8 << 20,
            request_max: 16 << 20,
        }
    }
}

impl RespConfig {
    /// The place among `namespaces` of the one that is served.
    pub fn place<'a>(&self, mut namespaces: impl Iterator<Item = &'a str>) -> Option<usize> {
        match &self.namespace {
            None => namespaces.next().map(|_| 0),
            Some(name) => namespaces.position(|other| other == name),
        }
    }
}

/// The settings of section `[resp]`.
pub fn settings(raw: Resp, namespaces: &[NamespaceSettings]) -> Checked<RespConfig> {
    let default = RespConfig::default();
    let listen = match &raw.listen {
        None => default.listen,
        Some(text) => text.as_ref().parse::<IpAddr>().map_err(|_| {
            bad(text, format!("{:?} is not an IP address such as 127.0.0.1", text.as_ref()))
        })?,
    };
    let port = match &raw.port {
        None => default.port,
        Some(given) => match given.as_ref() {
            Port::Number(0) => None,
            Port::Number(port @ 1..=65_535) => Some(*port as u16),
            Port::Word(word) if word == "any" => Some(0),
            _ => return Err(bad(given, "1 to 65535, 0 for none, or \"any\" are possible")),
        },
    };
    let password = match raw.password {
        None => None,
        Some(text) if text.as_ref().is_empty() || text.as_ref().len() > 512 => {
            return Err(bad(&text, "a password has 1 to 512 bytes"));
        }
        Some(text) => Some(Secret::new(text.into_inner())),
    };
    if port.is_some() && !listen.is_loopback() && password.is_none() {
        let span = raw.listen.as_ref().map(toml::Spanned::span);
        let message = "without a password the Redis door listens on loopback only: anybody who reached it could read and write";
        return Err(Bad { span, message: message.into() });
    }
    if let Some(name) = &raw.namespace
        && !namespaces.iter().any(|one| one.engine.name == *name.as_ref())
    {
        return Err(bad(name, format!("no namespace is named {:?}", name.as_ref())));
    }
    let ever = matches!(&raw.idle_timeout, Some(given) if given.as_ref().0.is_zero());
    Ok(RespConfig {
        listen,
        port,
        namespace: raw.namespace.map(toml::Spanned::into_inner),
        password,
        max_connections: number(&raw.max_connections, 1..=1_000_000, default.max_connections)?,
        idle_timeout: match ever {
            true => Duration::ZERO,
            false => time(&raw.idle_timeout, Duration::from_secs(1), default.idle_timeout)?,
        },
        gather: raw.gather.unwrap_or(default.gather),
        output_buffer: size(&raw.output_buffer, 64 << 10..=1 << 30, default.output_buffer)?,
        request_max: size(&raw.request_size, REQUEST_MIN..=REQUEST_MAX, default.request_max)?,
    })
}

/// Section `[resp]`. The password is not written: whoever may ask for the settings need not know it.
pub fn write(out: &mut String, resp: &RespConfig) -> std::fmt::Result {
    let quoted = |text: String| toml::Value::String(text).to_string();
    writeln!(out, "\n[resp]")?;
    writeln!(out, "listen = {}", quoted(resp.listen.to_string()))?;
    match resp.port {
        None => writeln!(out, "port = 0")?,
        Some(0) => writeln!(out, "port = \"any\"")?,
        Some(port) => writeln!(out, "port = {port}")?,
    }
    if let Some(name) = &resp.namespace {
        writeln!(out, "namespace = {}", quoted(name.clone()))?;
    }
    if resp.password.is_some() {
        writeln!(out, "# password is set")?;
    }
    writeln!(out, "max-connections = {}", resp.max_connections)?;
    writeln!(out, "idle-timeout = {}", quoted(format_duration(resp.idle_timeout)))?;
    writeln!(out, "gather = {}", resp.gather)?;
    writeln!(out, "output-buffer = {}", quoted(format_size(resp.output_buffer)))?;
    writeln!(out, "request-size = {}", quoted(format_size(resp.request_max)))
}
