//! Owns what DUMP says of a string: value, version of the RDB format, CRC-64. It makes payloads for RESTORE, of every form that Redis gives a
//! string, so that a server is asked to read what it would not write itself.

/// The newest version that Redis 7.0 reads.
pub const VERSION: u16 = 10;

/// A string as it is, with its length before it.
pub fn plain(value: &[u8]) -> Vec<u8> {
    let mut body = vec![0];
    length(&mut body, value.len());
    body.extend_from_slice(value);
    closed(body, VERSION)
}

/// A number as Redis writes it: 1, 2 or 4 bytes.
pub fn number(value: i32) -> Vec<u8> {
    let mut body = vec![0];
    if let Ok(small) = i8::try_from(value) {
        body.push(0xc0);
        body.extend_from_slice(&small.to_le_bytes());
    } else if let Ok(middle) = i16::try_from(value) {
        body.push(0xc1);
        body.extend_from_slice(&middle.to_le_bytes());
    } else {
        body.push(0xc2);
        body.extend_from_slice(&value.to_le_bytes());
    }
    closed(body, VERSION)
}

/// `count` times `byte`, compressed (LZF): one literal, then references to it. `count` is at least 10.
pub fn compressed(byte: u8, count: usize) -> Vec<u8> {
    let mut packed = vec![0, byte];
    let mut left = count - 1;
    while left >= 9 {
        // 9 to 264 bytes from one byte back: seven in the three bits, the rest in a byte of its own.
        let run = left.min(264);
        packed.extend_from_slice(&[0xe0, (run - 9) as u8, 0]);
        left -= run;
    }
    if left > 0 {
        packed.push(left as u8 - 1);
        packed.extend(std::iter::repeat_n(byte, left));
    }
    let mut body = vec![0, 0xc3];
    length(&mut body, packed.len());
    length(&mut body, count);
    body.extend_from_slice(&packed);
    closed(body, VERSION)
}

/// `body` with a version and the checksum over both.
pub fn closed(mut body: Vec<u8>, version: u16) -> Vec<u8> {
    body.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(&body);
    body.extend_from_slice(&sum.to_le_bytes());
    body
}

fn length(out: &mut Vec<u8>, len: usize) {
    match len {
        0..=0x3f => out.push(len as u8),
        0x40..=0x3fff => out.extend_from_slice(&[0x40 | (len >> 8) as u8, len as u8]),
        _ => {
            out.push(0x80);
            out.extend_from_slice(&(len as u32).to_be_bytes());
        }
    }
}

/// CRC-64 of Jones's polynomial, lowest bit first, without inversion: the one of the RDB format.
fn crc64(bytes: &[u8]) -> u64 {
    const REFLECTED: u64 = 0x95ac_9329_ac4b_c9b5;
    bytes.iter().fold(0, |crc, &byte| {
        (0..8).fold(crc ^ u64::from(byte), |crc, _| {
            (crc >> 1) ^ (REFLECTED & (crc & 1).wrapping_neg())
        })
    })
}

#[test]
fn the_checksum_is_that_of_the_format() {
    assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
}
