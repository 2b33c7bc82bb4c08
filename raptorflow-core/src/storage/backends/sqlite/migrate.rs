//! Brings files of older formats to the current one, when they are opened.

use rusqlite::{Connection, TransactionBehavior};

use super::{
    fault::OrFault as _,
    open::{FORMAT, Format, check_format},
    seal::Seal,
    verify,
};
use crate::error::Result;

const OPERATION: &str = "storage.open";

/// Brings a file of format 1, which had neither arrivals nor a seal, to format 2.
///
/// # Errors
/// `Corrupt` when the file is damaged: the seal would hide it.
pub(super) fn from_1(conn: &mut Connection) -> Result<()> {
    let transaction = conn.transaction_with_behavior(TransactionBehavior::Immediate).or_fault(OPERATION)?;
    // Another process may have been faster.
    if matches!(check_format(&transaction)?, Format::Old) {
        verify::structure(&transaction)?;
        transaction.execute_batch(include_str!("format2.sql")).or_fault(OPERATION)?;
        let mut seal = Seal { digest: verify::digest(&transaction)?, ..Seal::default() };
        seal.write(&transaction, OPERATION)?;
        transaction.pragma_update(None, "user_version", FORMAT).or_fault(OPERATION)?;
    }
    transaction.commit().or_fault(OPERATION)
}
