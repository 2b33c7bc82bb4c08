//! The cases of the three traits in one list.

use super::{StorageSubject, key_value, lease, log, tenants};
use crate::testing::conformance::Case;

/// Every case of `KeyValue`, `Log` and `Lease`.
#[must_use]
pub fn storage_cases() -> Vec<Case<StorageSubject>> {
    [key_value::cases(), log::cases(), lease::cases(), tenants::cases()].concat()
}
