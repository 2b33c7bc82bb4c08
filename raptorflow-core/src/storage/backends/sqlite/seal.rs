//! `Seal`: the one row by which lost, older and misplaced rows of the other tables are noticed.
//!
//! A checksum in a row says nothing of rows that are missing, and nothing of a page that is whole but older than its
//! neighbors. The seal holds the sum of a hash of every row. The sum of what is there differs when a row was lost,
//! came back or was changed, wherever that happened in the file.
//!
//! New records are not in the sum, so that an append does not write the seal. They are numbered without gaps from the
//! seal on, and each knows the epoch of the seal that it came after: what is left of them is a beginning of what came.

use rusqlite::{Connection, OptionalExtension as _};

use super::{
    checksum::{check, of_numbers},
    fault::OrFault as _,
};
use crate::error::{Error, ErrorKind, Result};

/// The row of the table `seal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal {
    pub(super) epoch: i64,
    /// The newest arrival that has left `arrivals`.
    pub(super) moved: i64,
    /// The newest arrival when the seal was written.
    pub(super) serial: i64,
    pub(super) digest: u64,
}

impl Seal {
    /// Reads the seal of a store.
    ///
    /// # Errors
    /// `Corrupt` when it is missing or damaged.
    pub(super) fn read(conn: &Connection, operation: &'static str) -> Result<Self> {
        let sql = "SELECT epoch, moved, serial, digest, checksum FROM seal WHERE id = 1";
        let row = |row: &rusqlite::Row<'_>| {
            let digest = row.get::<_, i64>(3)?.cast_unsigned();
            let seal = Self { epoch: row.get(0)?, moved: row.get(1)?, serial: row.get(2)?, digest };
            Ok((seal, row.get(4)?))
        };
        let found = conn.prepare_cached(sql).and_then(|mut select| select.query_row([], row).optional());
        let Some((seal, stored)) = found.or_fault(operation)? else {
            return Err(damaged(operation, "the seal is missing"));
        };
        check(operation, ("table", "seal"), stored, seal.checksum())?;
        Ok(seal)
    }

    /// Writes the seal of a store, as the next epoch.
    pub(super) fn write(&mut self, conn: &Connection, operation: &'static str) -> Result<()> {
        self.epoch += 1;
        let sql =
            "INSERT INTO seal (id, epoch, moved, serial, digest, checksum) VALUES (1, ?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT DO UPDATE SET epoch = ?1, moved = ?2, serial = ?3, digest = ?4, checksum = ?5";
        let row = (self.epoch, self.moved, self.serial, self.digest.cast_signed(), self.checksum());
        conn.prepare_cached(sql).and_then(|mut update| update.execute(row)).or_fault(operation)?;
        Ok(())
    }

    /// Takes note of a row that is new.
    pub(super) fn add(&mut self, hash: u64) {
        self.digest = self.digest.wrapping_add(hash);
    }

    /// Takes note of a row that is gone.
    pub(super) fn remove(&mut self, hash: u64) {
        self.digest = self.digest.wrapping_sub(hash);
    }

    fn checksum(&self) -> u32 {
        of_numbers([self.epoch, self.moved, self.serial, self.digest.cast_signed()])
    }
}

/// The error of a store whose rows do not belong together.
pub(super) fn damaged(operation: &'static str, found: &str) -> Error {
    Error::new(ErrorKind::Corrupt, operation, "the database is damaged; restore it from a copy")
        .with("found", found)
}

/// The hash of a row of `tenants`.
pub(super) fn of_tenant(id: i64, name: &str, version_floor: i64, token_floor: i64) -> u64 {
    hash([1, id, text(&[name]), version_floor, token_floor])
}

/// The hash of a row of `entries`; its checksum stands for the value.
pub(super) fn of_entry(tenant: i64, key: &str, version: i64, checksum: i64) -> u64 {
    hash([2, tenant, text(&[key]), version, checksum])
}

/// The hash of a row of `streams`.
pub(super) fn of_stream(id: i64, tenant: i64, name: &str) -> u64 {
    hash([3, id, tenant, text(&[name]), 0])
}

/// The hash of a row of `records`; its checksum stands for the data.
pub(super) fn of_record(id: i64, checksum: i64) -> u64 {
    hash([4, id, checksum, 0, 0])
}

/// The hash of a row of `leases`.
pub(super) fn of_lease(tenant: i64, name: &str, token: i64, owner: &str, expires: i64) -> u64 {
    hash([5, tenant, text(&[name, owner]), token, expires])
}

fn text(parts: &[&str]) -> i64 {
    let mut sum = crc32fast::Hasher::new();
    for part in parts {
        sum.update(part.as_bytes());
        sum.update(&[0]);
    }
    i64::from(sum.finalize())
}

/// Mixes numbers so well that a sum of hashes shows a change of any bit.
///
/// The finalizer of `SplitMix64`, once for each number.
fn hash(numbers: [i64; 5]) -> u64 {
    numbers.iter().fold(0x9e37_79b9_7f4a_7c15, |hash, number| {
        let mixed = hash ^ number.cast_unsigned();
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).wrapping_add(0x9e37_79b9_7f4a_7c15)
    })
}
