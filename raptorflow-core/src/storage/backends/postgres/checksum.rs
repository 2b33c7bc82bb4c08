//! CRC-32 over a row's content and its place, so that a damaged or misplaced row is noticed.
//!
//! The number of a row, a sequence or a version, is known to the server only, which mixes it in when it writes.

use crc32fast::Hasher;

use crate::error::{Error, ErrorKind, Result};

/// Checksums of rows of one tenant under one name, without their numbers.
pub(super) struct Sum(Hasher);

impl Sum {
    pub(super) fn new(tenant: &str, name: &str) -> Self {
        let mut sum = Hasher::new();
        sum.update(tenant.as_bytes());
        sum.update(&[0]);
        sum.update(name.as_bytes());
        sum.update(&[0]);
        Self(sum)
    }

    /// The number that stands for the place itself.
    pub(super) fn id(&self) -> u32 {
        self.0.clone().finalize()
    }

    pub(super) fn of(&self, content: &[u8]) -> i32 {
        let mut sum = self.0.clone();
        sum.update(content);
        sum.finalize().cast_signed()
    }

    /// Refuses a row whose stored checksum is another than the computed one.
    pub(super) fn check(
        &self,
        operation: &'static str,
        named: (&'static str, &str),
        (stored, number): (i32, u64),
        content: &[u8],
    ) -> Result<()> {
        if stored == placed(self.of(content), number) {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Corrupt,
            operation,
            "a stored checksum does not match; restore from a copy",
        )
        .with(named.0, named.1))
    }
}

/// A checksum with the number of its row, as the function `placed` of the schema makes it.
fn placed(checksum: i32, number: u64) -> i32 {
    checksum ^ ((number & 0x7fff_ffff) as u32).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_refused_when_its_content_its_number_or_its_place_changed() {
        let check = |name, stored: (i32, u64), content: &[u8]| {
            Sum::new("tenant", name).check("storage.read", ("stream", name), stored, content)
        };
        let sum = placed(Sum::new("tenant", "one").of(b"content"), 5);
        check("one", (sum, 5), b"content").unwrap();
        for refused in [
            check("one", (sum, 5), b"Content"),
            check("one", (sum, 6), b"content"),
            check("two", (sum, 5), b"content"),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Corrupt);
        }
    }
}
