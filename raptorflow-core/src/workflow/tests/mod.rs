//! Tests of the pure parts of workflows.

mod aggregation;
