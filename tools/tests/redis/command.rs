//! Owns a command as it is sent: its arguments, its two encodings, and how a person reads it.

use std::fmt;

/// A command: its name and arguments.
#[derive(Clone, Default)]
pub struct Command(pub Vec<Vec<u8>>);

impl Command {
    /// A command from text, words divided by spaces.
    pub fn words(text: &str) -> Self {
        Self(text.split(' ').map(|word| word.as_bytes().to_vec()).collect())
    }

    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.0.push(argument.as_ref().to_vec());
        self
    }

    pub fn args<A: AsRef<[u8]>>(self, arguments: impl IntoIterator<Item = A>) -> Self {
        arguments.into_iter().fold(self, Self::arg)
    }

    /// The name in capitals.
    pub fn name(&self) -> String {
        self.word(0)
    }

    /// Argument `n` in capitals; empty where there is none.
    pub fn word(&self, n: usize) -> String {
        let word = self.0.get(n).map(Vec::as_slice).unwrap_or_default();
        String::from_utf8_lossy(word).to_ascii_uppercase()
    }

    /// As clients send it: an array of bulk strings.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("*{}\r\n", self.0.len()).as_bytes());
        for argument in &self.0 {
            out.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            out.extend_from_slice(argument);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// As a person types it: one line, each argument in quotes.
    pub fn encode_inline(&self, out: &mut Vec<u8>) {
        for (n, argument) in self.0.iter().enumerate() {
            if n > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(quoted(argument).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// What `redis-cli` would be given to send the same; long arguments are cut.
impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, argument) in self.0.iter().enumerate() {
            let plain = !argument.is_empty() && argument.iter().all(u8::is_ascii_graphic);
            let space = if n > 0 { " " } else { "" };
            match &argument[..argument.len().min(120)] {
                cut if cut.len() < argument.len() => {
                    write!(f, "{space}{}... ({} bytes)", quoted(cut), argument.len())?;
                }
                all if plain => write!(f, "{space}{}", String::from_utf8_lossy(all))?,
                all => write!(f, "{space}{}", quoted(all))?,
            }
        }
        Ok(())
    }
}

/// In double quotes, with what is not printable as `\xHH`.
pub fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(byte)]),
            b'\r' => out.push_str("\\r"),
            b'\n' => out.push_str("\\n"),
            0x20..=0x7e => out.push(char::from(byte)),
            _ => out.push_str(&format!("\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}
