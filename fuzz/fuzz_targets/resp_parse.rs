//! The parser of Redis requests: whatever comes, it does not panic, answers only places that are there, and says the same however the
//! bytes are cut into packets.

#![no_main]

use cairn_server::doors::resp::parse::{Bounds, Parsed, Parser, ProtocolError};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((first, stream)) = data.split_first() else { return };
    let bounds = Bounds { authenticated: first & 1 == 0, request_max: 1 << 12 };
    let piece = usize::from(first >> 1) + 1;
    assert_eq!(requests(stream, stream.len().max(1), bounds), requests(stream, piece, bounds));
});

type Requests = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// What a stream asks for when it arrives in pieces of `piece` bytes.
fn requests(stream: &[u8], piece: usize, bounds: Bounds) -> Requests {
    let (mut parser, mut told) = (Parser::default(), Vec::new());
    let (mut begin, mut have) = (0, 0);
    while have < stream.len() {
        have = (have + piece).min(stream.len());
        loop {
            let input = &stream[begin..have];
            let (len, bytes, spans) = match parser.parse(input, bounds) {
                Ok(Parsed::More) => break,
                Ok(Parsed::Nothing(len)) => {
                    begin += len;
                    continue;
                }
                Ok(Parsed::Request(len, spans)) => (len, input[..len].to_vec(), spans),
                Ok(Parsed::Inline(len, bytes, spans)) => (len, bytes, spans),
                Err(error) => return (told, Some(error)),
            };
            let word = |(from, to): &(u32, u32)| bytes[*from as usize..*to as usize].to_vec();
            told.push(spans.iter().map(word).collect());
            begin += len;
        }
    }
    (told, None)
}
