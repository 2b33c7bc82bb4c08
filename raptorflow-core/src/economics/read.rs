//! Reads what calls cost out of the ledger's streams.

use crate::{
    economics::{
        Spending,
        fact::{Fact, decode},
        ledger::{PAGE, PREFIX},
        scope::month_name,
    },
    error::Result,
    runtime::Context,
    storage::Storage,
    types::Timestamp,
};

/// What was settled from `from` on and before `before`, oldest first.
pub(super) async fn spendings(
    storage: &Storage,
    ctx: &Context,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
) -> Result<Vec<Spending>> {
    let first = from.map(|from| format!("{PREFIX}{}", month_name(from)));
    let mut found = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let streams = storage.streams(ctx, PREFIX, after.as_deref(), PAGE).await?;
        let Some(last) = streams.last().cloned() else { return Ok(found) };
        for stream in &streams {
            if first.as_ref().is_none_or(|first| stream >= first)
                && !month(storage, ctx, stream, from, before, &mut found).await?
            {
                return Ok(found);
            }
        }
        after = Some(last);
    }
}

/// Reads the stream of a month; whether there may be something in a later one.
async fn month(
    storage: &Storage,
    ctx: &Context,
    stream: &str,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    found: &mut Vec<Spending>,
) -> Result<bool> {
    let mut next = 0;
    loop {
        let records = storage.read(ctx, stream, next, PAGE).await?;
        for record in &records {
            let entry = decode(stream, record)?;
            if before.is_some_and(|before| entry.at >= before) {
                return Ok(false);
            }
            if let Fact::Settled { spending, .. } = entry.fact
                && from.is_none_or(|from| entry.at >= from)
            {
                found.push(spending);
            }
        }
        next += records.len() as u64;
        if records.len() < PAGE {
            return Ok(true);
        }
    }
}
