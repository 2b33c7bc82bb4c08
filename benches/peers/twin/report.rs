//! What a measurement says: a line of JSON for each system and unit.

use serde_json::json;

/// Prints the samples of one way to do a work.
pub(crate) fn report(work: &str, system: &str, unit: &str, samples: &[f64]) {
    println!("{}", json!({ "work": work, "system": system, "unit": unit, "samples": samples }));
}
