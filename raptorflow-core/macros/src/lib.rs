//! The attribute macros of `raptorflow-core`; they expand to its public API only.
