//! What an append and a remove do inside the writer's transaction, and how new records leave `arrivals`.

use bytes::Bytes;

use super::{
    checksum::{OfRecord, of_numbers},
    fault::OrFault as _,
    known::Stream,
    seal,
    write::{SEQUENCE_BITS, Tables, check_size, signed, unsigned},
};
use crate::{
    error::{Error, ErrorKind, Result},
    storage::{Fence, check_fence, check_length},
    types::TenantId,
};

/// The sequence of the last record that a stream can have.
pub(super) const LAST: i64 = (1 << SEQUENCE_BITS) - 1;

impl Tables<'_> {
    pub(super) fn append(
        &mut self,
        tenant: &TenantId,
        stream: &str,
        expected: Option<u64>,
        fence: Option<&Fence>,
        records: &[Bytes],
    ) -> Result<u64> {
        const OPERATION: &str = "storage.append";
        if let Some(fence) = fence {
            check_fence(OPERATION, fence, self.token(OPERATION, tenant, &fence.lease)?)?;
        }
        let found = self.stream(OPERATION, tenant, stream)?;
        let length = found.map_or(0, |found| found.length);
        check_length(OPERATION, stream, expected, length)?;
        if records.is_empty() {
            return Ok(length);
        }
        let end = length + records.len() as u64;
        if end > unsigned(LAST) {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                OPERATION,
                "a stream holds at most 2^32 records",
            )
            .with("stream", stream));
        }
        for record in records {
            check_size(OPERATION, ("stream", stream), record)?;
        }
        let id = match found {
            Some(found) => found.id,
            None => self.new_stream(OPERATION, tenant, stream)?,
        };
        self.wrote = true;
        let sum = OfRecord::new(tenant.as_str(), stream);
        let sql = "INSERT INTO arrivals (serial, stream, sequence, epoch, seal, checksum, data)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
        let mut insert = self.conn.prepare_cached(sql).or_fault(OPERATION)?;
        let epoch = self.known.seal.epoch;
        let arrivals = &mut self.known.arrivals;
        for (sequence, record) in (length..).zip(records) {
            arrivals.serial += 1;
            let (serial, place) = (arrivals.serial, signed(sequence));
            let checksum = sum.of(sequence, record);
            let seal = of_numbers([serial, id, place, epoch, i64::from(checksum)]);
            insert
                .execute((serial, id, place, epoch, seal, checksum, record.as_ref()))
                .or_fault(OPERATION)?;
            arrivals.rows += 1;
            arrivals.bytes += record.len();
        }
        arrivals.lengths.insert(id, end);
        if let Some(known) = self.known.tenants.get_mut(tenant) {
            match known.streams.get_mut(stream) {
                Some(known) => known.length = end,
                None => known.remember_stream(stream, Stream { id, length: end }),
            }
        }
        Ok(end)
    }

    pub(super) fn remove(&mut self, tenant: &TenantId, stream: &str) -> Result<bool> {
        const OPERATION: &str = "storage.remove";
        let Some(Stream { id, .. }) = self.stream(OPERATION, tenant, stream)? else { return Ok(false) };
        self.move_arrivals(OPERATION)?;
        self.remove_records(OPERATION, id)?;
        let Some(known) = self.tenant(OPERATION, tenant)? else { return Ok(false) };
        known.streams.remove(stream);
        let owner = known.id;
        self.execute(OPERATION, "DELETE FROM streams WHERE id = ?1", (id,))?;
        self.reseal(Some(seal::of_stream(id, owner, stream)), None);
        Ok(true)
    }

    /// Forgets the records of a stream; none of them may be among the arrivals.
    pub(super) fn remove_records(&mut self, operation: &'static str, stream: i64) -> Result<()> {
        let all = (stream << SEQUENCE_BITS, (stream << SEQUENCE_BITS) | LAST);
        let sql = "SELECT id, checksum FROM records WHERE id BETWEEN ?1 AND ?2";
        self.unseal_rows(operation, sql, all, |row| Ok(seal::of_record(row.get(0)?, row.get(1)?)))?;
        self.execute(operation, "DELETE FROM records WHERE id BETWEEN ?1 AND ?2", all)?;
        Ok(())
    }

    /// Moves what has arrived to where each stream has its records together.
    pub(super) fn move_arrivals(&mut self, operation: &'static str) -> Result<()> {
        if self.known.arrivals.rows == 0 {
            return Ok(());
        }
        let mut select = self
            .conn
            .prepare_cached("SELECT stream << 32 | sequence, checksum FROM arrivals")
            .or_fault(operation)?;
        let mut rows = select.query([]).or_fault(operation)?;
        let (mut sum, mut count) = (0_u64, 0);
        while let Some(row) = rows.next().or_fault(operation)? {
            let (id, checksum) = (row.get(0).or_fault(operation)?, row.get(1).or_fault(operation)?);
            sum = sum.wrapping_add(seal::of_record(id, checksum));
            count += 1;
        }
        drop(rows);
        if count != self.known.arrivals.rows {
            return Err(seal::damaged(operation, "new records are missing"));
        }
        let sql = "INSERT INTO records (id, checksum, data)
                   SELECT stream << 32 | sequence, checksum, data FROM arrivals";
        self.execute(operation, sql, [])?;
        self.execute(operation, "DELETE FROM arrivals", [])?;
        self.reseal(None, Some(sum));
        let arrivals = &mut self.known.arrivals;
        (arrivals.rows, arrivals.bytes) = (0, 0);
        arrivals.lengths.clear();
        self.known.seal.moved = arrivals.serial;
        Ok(())
    }

    /// The id and the length of a stream; `None` of one that has no records.
    fn stream(&mut self, operation: &'static str, tenant: &TenantId, stream: &str) -> Result<Option<Stream>> {
        let Some(known) = self.tenant(operation, tenant)? else { return Ok(None) };
        if let Some(stream) = known.streams.get(stream) {
            return Ok(Some(*stream));
        }
        let owner = known.id;
        let sql = "SELECT id FROM streams WHERE tenant = ?1 AND name = ?2";
        let Some(id) = self.row(operation, sql, (owner, stream), |row| row.get::<_, i64>(0))? else {
            return Ok(None);
        };
        let length = match self.known.arrivals.lengths.get(&id) {
            Some(length) => *length,
            None => self.moved_length(operation, id)?,
        };
        let found = Stream { id, length };
        if let Some(known) = self.tenant(operation, tenant)? {
            known.remember_stream(stream, found);
        }
        Ok(Some(found))
    }

    /// How many records of a stream are in `records`.
    fn moved_length(&self, operation: &'static str, stream: i64) -> Result<u64> {
        let base = stream << SEQUENCE_BITS;
        let sql = "SELECT id FROM records WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 1";
        let last = self.row(operation, sql, (base, base | LAST), |row| row.get::<_, i64>(0))?;
        Ok(last.map_or(0, |last| unsigned(last - base) + 1))
    }

    fn new_stream(&mut self, operation: &'static str, tenant: &TenantId, stream: &str) -> Result<i64> {
        let owner = self.tenant_or_new(operation, tenant)?.id;
        self.execute(operation, "INSERT INTO streams (tenant, name) VALUES (?1, ?2)", (owner, stream))?;
        let id = self.conn.last_insert_rowid();
        if id >> (63 - SEQUENCE_BITS) != 0 {
            return Err(Error::new(
                ErrorKind::LimitExceeded,
                operation,
                "a store holds at most 2^31 streams",
            ));
        }
        self.reseal(None, Some(seal::of_stream(id, owner, stream)));
        Ok(id)
    }
}
