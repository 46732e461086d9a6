//! How large an answer may become, before its request is started.
//!
//! The answers of an operate hold values until they are sent, and one that writes cannot be taken back when they turn out too
//! large: so room for them is set aside first.

use std::collections::HashMap;

use cairn_proto::v1::{self, operation::Operation as Step};
use prost::Message;

use crate::limits::OPERATE_ANSWER;

/// Bytes of a number as a value, and of what is around a value in an answer.
const NUMBER: usize = 32;

/// What the answer of a request may need.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Bytes of values at most; 0 when it reads none in an operate.
    pub bytes: usize,
    /// Whether it changes the record too, so that its answer must not be lost.
    pub writes: bool,
}

/// What `request` may be answered with, of a record that has `record` bytes at most. Other requests are answered with one record
/// at most, and need none.
pub fn of(request: &v1::OperateRequest, record: usize) -> Reservation {
    // Bins whose size is known from the steps themselves, such as a counter that was just added to.
    let mut known: HashMap<&str, usize> = HashMap::new();
    // How often each other bin is read: all of them together are one record, as often as the most read one.
    let mut unknown: HashMap<&str, usize> = HashMap::new();
    let (mut whole, mut most, mut bytes, mut writes) = (0, 0, 0usize, false);
    for step in request.operations.iter().filter_map(|step| step.operation.as_ref()) {
        writes |= !matches!(step, Step::Read(_) | Step::ReadAll(_));
        match step {
            Step::Read(bin) => match known.get(&*bin.name) {
                Some(size) => bytes = bytes.saturating_add(*size),
                None => {
                    let times = unknown.entry(&bin.name).or_default();
                    *times += 1;
                    most = most.max(*times);
                }
            },
            Step::ReadAll(_) => whole += 1,
            Step::Write(bin) => drop(known.insert(&bin.name, bin.encoded_len() + NUMBER)),
            Step::Add(bin) => drop(known.insert(&bin.name, bin.name.len() + NUMBER)),
            Step::Append(bin) | Step::Prepend(bin) => {
                if let Some(size) = known.get_mut(&*bin.name) {
                    *size += bin.encoded_len();
                }
            }
            Step::Touch(_) | Step::Delete(_) => {}
        }
    }
    let times: usize = whole + most;
    if times > 0 {
        let each = record.saturating_add(request.encoded_len());
        bytes = bytes.saturating_add(each.saturating_mul(times));
    }
    Reservation { bytes: bytes.min(OPERATE_ANSWER), writes }
}

#[cfg(test)]
mod tests {
    use cairn_proto::v1::{Bin, Operation, ReadAll, ReadBin, Value, value::Kind};

    use super::*;

    fn request(steps: Vec<Step>) -> v1::OperateRequest {
        let operations = steps.into_iter().map(|step| Operation { operation: Some(step) });
        v1::OperateRequest { operations: operations.collect(), ..v1::OperateRequest::default() }
    }

    fn read(name: &str) -> Step {
        Step::Read(ReadBin { name: name.into() })
    }

    fn bin(name: &str) -> Bin {
        Bin { name: name.into(), value: Some(Value { kind: Some(Kind::Int(1)) }) }
    }

    /// Room too small lets answers fill memory; room too large makes counters run one by one: a read of what a step has just made
    /// is small, other reads are a record for each time the same may be read.
    #[test]
    fn what_may_be_read_is_known_beforehand() {
        const RECORD: usize = 1 << 20;
        let of = |steps| of(&request(steps), RECORD);
        assert_eq!(of(vec![Step::Add(bin("n"))]), Reservation { bytes: 0, writes: true });
        let counter = of(vec![Step::Add(bin("n")), read("n")]);
        assert!(counter.writes && counter.bytes < 100, "{counter:?}");
        let two = of(vec![read("a"), read("b")]);
        assert!(!two.writes && (RECORD..RECORD + 100).contains(&two.bytes), "{two:?}");
        let thrice = of(vec![read("a"), Step::ReadAll(ReadAll {}), read("a")]);
        assert!((3 * RECORD..3 * RECORD + 300).contains(&thrice.bytes), "{thrice:?}");
        assert_eq!(of(vec![Step::ReadAll(ReadAll {}); 4096]).bytes, OPERATE_ANSWER);
        let appended = of(vec![Step::Append(bin("a")), read("a")]);
        assert!(appended.bytes >= RECORD);
    }
}
