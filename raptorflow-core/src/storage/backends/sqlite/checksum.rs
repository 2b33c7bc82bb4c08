//! CRC-32 over a row's content and its place, so that a damaged or misplaced row is noticed.

use crc32fast::Hasher;

use crate::error::{Error, ErrorKind, Result};

/// The checksum of a value under its tenant, key and version.
pub(super) fn of_entry(tenant: &str, key: &str, version: u64, value: &[u8]) -> u32 {
    let mut sum = place(tenant, key);
    sum.update(&version.to_le_bytes());
    sum.update(value);
    sum.finalize()
}

/// The checksum of a row that is nothing but numbers.
pub(super) fn of_numbers<const N: usize>(numbers: [i64; N]) -> u32 {
    let mut sum = Hasher::new();
    numbers.iter().for_each(|number| sum.update(&number.to_le_bytes()));
    sum.finalize()
}

/// Checksums of the records of one stream.
pub(super) struct OfRecord(Hasher);

impl OfRecord {
    pub(super) fn new(tenant: &str, stream: &str) -> Self {
        Self(place(tenant, stream))
    }

    pub(super) fn of(&self, sequence: u64, data: &[u8]) -> u32 {
        let mut sum = self.0.clone();
        sum.update(&sequence.to_le_bytes());
        sum.update(data);
        sum.finalize()
    }
}

/// Refuses a row whose stored checksum is another than the computed one.
pub(super) fn check(
    operation: &'static str,
    place: (&'static str, &str),
    stored: i64,
    computed: u32,
) -> Result<()> {
    if stored == i64::from(computed) {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, operation, "a stored checksum does not match; restore from a copy")
        .with(place.0, place.1))
}

fn place(tenant: &str, name: &str) -> Hasher {
    let mut sum = Hasher::new();
    sum.update(tenant.as_bytes());
    sum.update(&[0]);
    sum.update(name.as_bytes());
    sum.update(&[0]);
    sum
}
