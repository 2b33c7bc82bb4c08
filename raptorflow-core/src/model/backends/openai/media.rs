//! How pictures and files are addressed on both wires.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::types::Media;

/// The address of media; bytes become a `data:` address, which is written without being put together first.
pub(super) struct MediaUrl<'a>(pub(super) &'a Media);

impl fmt::Display for MediaUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.media_type(), self.0.base64()) {
            (Some(kind), Some(base64)) => {
                f.write_str("data:")?;
                f.write_str(kind)?;
                f.write_str(";base64,")?;
                f.write_str(base64)
            }
            _ => f.write_str(self.0.address().unwrap_or_default()),
        }
    }
}

impl Serialize for MediaUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
