//! The short way must never say anything else than the generated types do.

use cairn_engine::model::{CommitLevel, Durability, ExistsPolicy};
use cairn_proto::v1::{
    Bin, GetRequest, Key as WireKey, List, PutRequest, Value as WireValue,
    WritePolicy as WirePolicy,
};
use cairn_proto::v1::{key::UserKey as WireUser, value::Kind};

use super::*;

/// A generator that is the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn text(&mut self) -> String {
        "aé".repeat(self.below(4) as usize)
    }

    fn key(&mut self) -> Option<WireKey> {
        let user_key = match self.below(4) {
            0 => None,
            1 => Some(WireUser::Text(self.text())),
            2 => Some(WireUser::Number(self.below(1 << 20) as i64 - 5000)),
            _ => Some(WireUser::Binary(vec![0xff; self.below(3) as usize])),
        };
        Some(WireKey { namespace: self.text(), set: self.text(), user_key })
    }

    fn value(&mut self) -> Option<WireValue> {
        let kind = match self.below(8) {
            0 => return None,
            1 => None,
            2 => Some(Kind::Bool(self.below(2) == 0)),
            3 => Some(Kind::Int(i64::MIN + self.below(3) as i64)),
            4 => Some(Kind::Double(self.below(9) as f64 / 8.0)),
            5 => Some(Kind::String(self.text())),
            6 => Some(Kind::Bytes(vec![7; self.below(200) as usize])),
            _ => Some(Kind::List(List { values: vec![WireValue { kind: Some(Kind::Int(1)) }] })),
        };
        Some(WireValue { kind })
    }

    fn put(&mut self) -> PutRequest {
        let count = self.below(4);
        let bins =
            (0..count).map(|_| Bin { name: self.text(), value: self.value() }).collect::<Vec<_>>();
        let policy = WirePolicy { exists: self.below(6) as i32, ..WirePolicy::default() };
        let policy = (self.below(2) == 0).then_some(policy);
        PutRequest { bins, key: self.key(), policy }
    }

    fn get(&mut self) -> GetRequest {
        let count = self.below(3);
        let bins = (0..count).map(|_| self.text()).collect();
        GetRequest { key: self.key(), bins, policy: (self.below(2) == 0).then(Default::default) }
    }

    /// Changes, adds or removes a byte or two: most of it is still a message.
    fn spoil(&mut self, message: &mut Vec<u8>) {
        for _ in 0..self.below(3) {
            let at = self.below(message.len() as u64 + 1) as usize;
            match self.below(3) {
                0 => message.insert(at, self.below(256) as u8),
                1 if at < message.len() => drop(message.remove(at)),
                _ if at < message.len() => message[at] = self.below(256) as u8,
                _ => {}
            }
        }
    }
}

fn long_put(message: &[u8]) -> Result<(String, Key, EngineBins, WritePolicy), Problem> {
    let request = PutRequest::decode(message).map_err(|_| Problem::Invalid("message".into()))?;
    let (namespace, key) = request::key(request.key)?;
    let policy = request::write_policy(request.policy)?;
    Ok((namespace, key, request::bins(request.bins)?, policy))
}

fn long_get(message: &[u8]) -> Result<(String, Key, String, ReadPolicy), Problem> {
    let request = GetRequest::decode(message).map_err(|_| Problem::Invalid("message".into()))?;
    let (namespace, key) = request::key(request.key)?;
    let policy = request::read_policy(request.policy)?;
    Ok((namespace, key, format!("{:?}", Wanted::named(request.bins)?), policy))
}

/// Whether the short way read all of it, after checking that it read what the long one reads and refused what that refuses.
fn agrees<T: std::fmt::Debug>(
    seed: u64,
    short: Result<T, Unread>,
    long: Result<T, Problem>,
) -> bool {
    match (short, long) {
        (Err(Unread::Odd), _) => false,
        (Ok(short), Ok(long)) => {
            assert_eq!(format!("{short:?}"), format!("{long:?}"), "seed {seed}");
            true
        }
        (Err(Unread::Refused(_)), Err(_)) => true,
        (short, long) => panic!("seed {seed}: {short:?}, but {long:?}"),
    }
}

/// Whatever the bytes are, valid or spoiled, both ways read the same key, bins and policy; and what an encoder wrote with all that
/// a request needs is read the short way.
#[test]
fn both_ways_read_the_same() {
    let mut short = 0;
    for seed in 0..40_000 {
        let mut random = Random(seed);
        random.below(1);
        let mut message = random.put().encode_to_vec();
        random.spoil(&mut message);
        let read = put(&message).map(|(ns, key, bins, policy)| (ns.to_owned(), key, bins, policy));
        short += u32::from(agrees(seed, read, long_put(&message)));

        let mut message = random.get().encode_to_vec();
        random.spoil(&mut message);
        let read = get(&message)
            .map(|(ns, key, wanted, policy)| (ns.to_owned(), key, format!("{wanted:?}"), policy));
        short += u32::from(agrees(seed, read, long_get(&message)));
    }
    assert!(short > 10_000, "{short}");
}

/// What clients mostly send is read the short way, every part of it.
#[test]
fn common_requests_take_the_short_way() {
    let user_key = Some(WireUser::Text("ada".into()));
    let key = Some(WireKey { namespace: "test".into(), set: "users".into(), user_key });
    let bin = Bin { name: "b".into(), value: Some(WireValue { kind: Some(Kind::Int(-3)) }) };
    let policy = WirePolicy { exists: 4, commit_level: 2, durability: 2, ..WirePolicy::default() };
    let request = PutRequest { key: key.clone(), bins: vec![bin], policy: Some(policy) };
    let message = request.encode_to_vec();
    let (namespace, read, bins, policy) = put(&message).unwrap();
    let ada = Key::new("users", UserKey::Str("ada".into())).unwrap();
    assert_eq!((namespace, &read), ("test", &ada));
    assert_eq!(bins, [("b".into(), Value::Int(-3))]);
    assert_eq!(policy.exists, ExistsPolicy::CreateOnly);
    assert_eq!(policy.durability, Some(Durability::Buffer));
    assert_eq!(policy.commit_level, Some(CommitLevel::Master));
    let request = GetRequest { key, bins: vec!["b".into()], policy: Some(Default::default()) };
    let message = request.encode_to_vec();
    let (namespace, read, wanted, _) = get(&message).unwrap();
    assert_eq!((namespace, read), ("test", ada));
    assert!(matches!(wanted, Wanted::Few(names) if names == ["b"]));
}
