//! Owns the reading of replies: RESP2 and RESP3, with each reply's own bytes kept. Refuses what is neither, and nesting deeper than any
//! reply here has.

const DEEPEST: usize = 30;

/// What a reply says. Each kind on the wire is a variant of its own, so that two equal replies are equal bytes.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Simple(Vec<u8>),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    /// With its first byte: `$`, `*` or `_`.
    Null(u8),
    Array(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
    Set(Vec<Reply>),
    Push(Vec<Reply>),
    Double(Vec<u8>),
    Boolean(bool),
    Verbatim(Vec<u8>),
    BigNumber(Vec<u8>),
}

impl Reply {
    /// The kind in a word; the nulls of RESP2 and RESP3 are different kinds.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Simple(_) => "simple string",
            Self::Error(_) => "error",
            Self::Integer(_) => "integer",
            Self::Bulk(_) => "bulk string",
            Self::Null(b'$') => "null bulk string",
            Self::Null(b'*') => "null array",
            Self::Null(_) => "null",
            Self::Array(_) => "array",
            Self::Map(_) => "map",
            Self::Set(_) => "set",
            Self::Push(_) => "push",
            Self::Double(_) => "double",
            Self::Boolean(_) => "boolean",
            Self::Verbatim(_) => "verbatim string",
            Self::BigNumber(_) => "big number",
        }
    }

    /// The members of an array, map, set or push.
    pub fn members(&self) -> &[Reply] {
        match self {
            Self::Array(all) | Self::Map(all) | Self::Set(all) | Self::Push(all) => all,
            _ => &[],
        }
    }

    /// The bytes of a string of any kind.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Simple(bytes) | Self::Error(bytes) | Self::Bulk(bytes) => bytes,
            Self::Double(bytes) | Self::Verbatim(bytes) | Self::BigNumber(bytes) => bytes,
            _ => &[],
        }
    }
}

/// Reads one reply from the beginning of `bytes`: what it says and how long it is, or `None` while it is not all there.
pub fn parse(bytes: &[u8]) -> Result<Option<(Reply, usize)>, String> {
    let mut reader = Reader { bytes, at: 0 };
    Ok(reader.reply(0)?.map(|reply| (reply, reader.at)))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn reply(&mut self, depth: usize) -> Result<Option<Reply>, String> {
        if depth > DEEPEST {
            return Err("a reply nested too deep".into());
        }
        let Some(&kind) = self.bytes.get(self.at) else { return Ok(None) };
        self.at += 1;
        let Some(line) = self.line()? else { return Ok(None) };
        let number = |line: &[u8]| {
            let text = String::from_utf8_lossy(line);
            text.parse::<i64>().map_err(|_| format!("not a number: {text:?}"))
        };
        Ok(Some(match kind {
            b'+' => Reply::Simple(line),
            b'-' => Reply::Error(line),
            b':' => Reply::Integer(number(&line)?),
            b',' => Reply::Double(line),
            b'(' => Reply::BigNumber(line),
            b'#' if line == b"t" || line == b"f" => Reply::Boolean(line == b"t"),
            b'_' if line.is_empty() => Reply::Null(kind),
            b'$' | b'*' if line == b"-1" => Reply::Null(kind),
            b'$' | b'=' => {
                let Some(bytes) = self.block(number(&line)?)? else { return Ok(None) };
                if kind == b'$' { Reply::Bulk(bytes) } else { Reply::Verbatim(bytes) }
            }
            b'*' | b'%' | b'~' | b'>' => {
                let count = number(&line)? * if kind == b'%' { 2 } else { 1 };
                let mut members = Vec::new();
                for _ in 0..count {
                    let Some(member) = self.reply(depth + 1)? else { return Ok(None) };
                    members.push(member);
                }
                match kind {
                    b'*' => Reply::Array(members),
                    b'%' => Reply::Map(members),
                    b'~' => Reply::Set(members),
                    _ => Reply::Push(members),
                }
            }
            _ => return Err(format!("no reply begins with {:?}", char::from(kind))),
        }))
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>, String> {
        let rest = &self.bytes[self.at..];
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let line = rest[..end].strip_suffix(b"\r").ok_or("a line that ends without CR")?;
        self.at += end + 1;
        Ok(Some(line.to_vec()))
    }

    fn block(&mut self, len: i64) -> Result<Option<Vec<u8>>, String> {
        let len = usize::try_from(len).map_err(|_| format!("a length of {len}"))?;
        let rest = &self.bytes[self.at..];
        if rest.len() < len + 2 {
            return Ok(None);
        }
        if &rest[len..len + 2] != b"\r\n" {
            return Err("a bulk string that does not end with CR LF".into());
        }
        self.at += len + 2;
        Ok(Some(rest[..len].to_vec()))
    }
}
