//! What can be measured.

use std::future::Future;

/// Something with keys and values. A job has one of its own; its futures stay on the job's thread.
pub trait Store {
    /// Reads a key's value and shows it to `look`: `None` when there is none.
    fn read<R>(
        &self,
        key: u64,
        look: impl FnOnce(Option<&[u8]>) -> R,
    ) -> impl Future<Output = Result<R, String>>;

    /// Writes a key's value.
    fn write(&self, key: u64, value: Vec<u8>) -> impl Future<Output = Result<(), String>>;

    /// Deletes a key.
    fn delete(&self, key: u64) -> impl Future<Output = Result<(), String>>;
}

/// A store in memory, for tests of what runs on a store.
#[cfg(test)]
pub mod memory {
    use std::{collections::HashMap, sync::Mutex};

    use super::Store;

    /// Keys and values in a map.
    #[derive(Debug, Default)]
    pub struct Memory(Mutex<HashMap<u64, Vec<u8>>>);

    impl Memory {
        /// Flips a bit of every value.
        pub fn spoil(&self) {
            for value in self.0.lock().unwrap().values_mut() {
                let last = value.len() - 1;
                value[last] ^= 1;
            }
        }
    }

    impl Store for Memory {
        async fn read<R>(
            &self,
            key: u64,
            look: impl FnOnce(Option<&[u8]>) -> R,
        ) -> Result<R, String> {
            Ok(look(self.0.lock().unwrap().get(&key).map(|value| &value[..])))
        }

        async fn write(&self, key: u64, value: Vec<u8>) -> Result<(), String> {
            self.0.lock().unwrap().insert(key, value);
            Ok(())
        }

        async fn delete(&self, key: u64) -> Result<(), String> {
            self.0.lock().unwrap().remove(&key);
            Ok(())
        }
    }
}
