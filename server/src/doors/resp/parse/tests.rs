//! The parser against what clients send, whole and in every cut.

use super::*;

const OPEN: Bounds = Bounds { authenticated: true, request_max: 1 << 20 };

/// What a stream of bytes says: requests, and the error it ends with.
type Told = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Everything that `stream` asks for, when it arrives in pieces of `piece` bytes.
fn requests(stream: &[u8], piece: usize, bounds: Bounds) -> Told {
    let (mut parser, mut told) = (Parser::default(), Vec::new());
    let (mut begin, mut have) = (0, 0);
    while have < stream.len() {
        have = (have + piece).min(stream.len());
        loop {
            let input = &stream[begin..have];
            let words = |bytes: &[u8], spans: &Spans| {
                spans
                    .iter()
                    .map(|(from, to)| bytes[*from as usize..*to as usize].to_vec())
                    .collect()
            };
            begin += match parser.parse(input, bounds) {
                Ok(Parsed::More) => break,
                Ok(Parsed::Nothing(len)) => len,
                Ok(Parsed::Request(len, spans)) => {
                    told.push(words(input, &spans));
                    len
                }
                Ok(Parsed::Inline(len, bytes, spans)) => {
                    told.push(words(&bytes, &spans));
                    len
                }
                Err(error) => return (told, Some(error)),
            };
        }
    }
    (told, None)
}

fn words(list: &[&[u8]]) -> Vec<Vec<u8>> {
    list.iter().map(|word| word.to_vec()).collect()
}

/// However a stream is cut into packets, it says the same: a client on a slow network must not be misread.
#[test]
fn every_cut_says_the_same() {
    let streams: [&[u8]; 8] = [
        b"*1\r\n$4\r\nPING\r\n*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n*0\r\n*-1\r\nPING\r\n",
        b"*2\r\n$4\r\nECHO\r\n$8\r\n\r\n*1$\x00\xff\r\r\nGET \"a b\" 'c' \\x\n\r\n\n  \nQUIT\r\n",
        b"*2\r\n$3\r\nGET\r\n:1\r\n",
        b"*2\r\n$3\r\nGET\r\n\r\n$1\r\nk\r\n",
        b"*x\r\n",
        b"*1\r\n*1\r\n*1\r\n$4\r\nPING\r\n",
        b"PING\r\nSET \"a\"b c\r\n",
        b"*1\r\n$4\r\nPING\r\n*1\r\n$2147483648\r\n",
    ];
    for stream in streams {
        let whole = requests(stream, stream.len(), OPEN);
        for piece in 1..stream.len() {
            assert_eq!(
                requests(stream, piece, OPEN),
                whole,
                "{} in {piece}",
                stream.escape_ascii()
            );
        }
    }
}

/// What people type into `nc`, with the quotes of redis-cli.
#[test]
fn inline_commands_are_split_as_people_mean_them() {
    let (told, error) = requests(b"set  k \"a\\x41\\n\\\"b\" 'it\\'s' \"\"\r\n", 64, OPEN);
    assert_eq!(error, None);
    assert_eq!(told, [words(&[b"set", b"k", b"aA\n\"b", b"it's", b""])]);
    for bad in ["\"a", "'a", "\"a\"b", "'a'b", "a \"b\\"] {
        let told = requests(format!("{bad}\r\n").as_bytes(), 64, OPEN);
        assert_eq!(told, (vec![], Some(ProtocolError::Quotes)), "{bad}");
    }
}

/// A length is refused when it is read, not when its bytes should be there; before authentication sooner.
#[test]
fn lengths_are_bounded_before_their_bytes_come() {
    let strict = Bounds { authenticated: false, ..OPEN };
    let error = |stream: &str, bounds| requests(stream.as_bytes(), 7, bounds).1;
    assert_eq!(error("*1\r\n$2147483648\r\n", OPEN), Some(ProtocolError::Length));
    assert_eq!(error("*1\r\n$-1\r\n", OPEN), Some(ProtocolError::Length));
    assert_eq!(error("*1048577\r\n", OPEN), Some(ProtocolError::Count));
    assert_eq!(error("*1048576\r\n", OPEN), None);
    assert_eq!(error("*10\r\n", strict), None);
    assert_eq!(error("*11\r\n", strict), Some(ProtocolError::CountBefore));
    assert_eq!(error("*1\r\n$16384\r\n", strict), None);
    assert_eq!(error("*1\r\n$16385\r\n", strict), Some(ProtocolError::LengthBefore));
    let half = 1 << 19;
    let two = format!("*2\r\n${half}\r\n{}\r\n${half}\r\n", "x".repeat(half));
    assert_eq!(error(&two, OPEN), Some(ProtocolError::RequestTooBig(1 << 20)));
}

/// Lines that never end are given up, whatever they promise to be.
#[test]
fn lines_without_an_end_are_refused() {
    let long = "1".repeat(LINE_MAX + 1);
    let table = [
        (long.clone(), ProtocolError::InlineTooBig),
        (format!("*{long}"), ProtocolError::CountTooBig),
        (format!("*1\r\n${long}"), ProtocolError::LengthTooBig),
    ];
    for (stream, error) in table {
        for piece in [1, 4096, stream.len()] {
            assert_eq!(requests(stream.as_bytes(), piece, OPEN), (vec![], Some(error)));
        }
    }
}

/// Random bytes and random damage never panic, and every cut of them says the same. The seed is printed; `CAIRN_SEED` replays it.
#[test]
fn nonsense_is_survived_in_every_cut() {
    let given = std::env::var("CAIRN_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    let mut seed = given.unwrap_or_else(|| {
        std::time::UNIX_EPOCH.elapsed().map_or(1, |since| since.as_nanos() as u64 | 1)
    });
    println!("CAIRN_SEED={seed}");
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let pieces: [&[u8]; 14] = [
        b"*",
        b"$",
        b"\r\n",
        b"\n",
        b"\r",
        b"1",
        b"3",
        b"0",
        b"-",
        b"\"",
        b"'",
        b"GET",
        b" ",
        b"*1\r\n$4\r\nPING\r\n",
    ];
    for _ in 0..2000 {
        let mut stream = Vec::new();
        for _ in 0..next() % 24 {
            stream.extend_from_slice(pieces[next() as usize % pieces.len()]);
        }
        let bounds = Bounds { authenticated: next() % 2 == 0, request_max: 64 };
        let whole = requests(&stream, stream.len().max(1), bounds);
        for piece in [1, 2, 3, 5] {
            assert_eq!(requests(&stream, piece, bounds), whole, "{}", stream.escape_ascii());
        }
    }
}
