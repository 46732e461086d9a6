//! `CLIENT`: who is connected.

use super::super::fail::Fail;

/// A name a client gives itself or its library; empty takes it away.
pub fn name_of(bytes: &[u8]) -> Result<Box<str>, Fail> {
    const REFUSED: Fail =
        Fail::text("ERR Client names cannot contain spaces, newlines or special characters.");
    let text = std::str::from_utf8(bytes).map_err(|_| REFUSED)?;
    if !text.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
        return Err(REFUSED);
    }
    if text.len() > super::super::clients::NAME_MAX {
        return Err(Fail::text("ERR a client's name has at most 256 bytes"));
    }
    Ok(text.into())
}
