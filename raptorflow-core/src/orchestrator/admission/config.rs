//! `AdmissionConfig`: the bounds of an admission.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// How much may work and wait at the same time.
///
/// ```
/// use raptorflow_core::orchestrator::AdmissionConfig;
/// let config: AdmissionConfig = toml::from_str("slots = 8\ntenant_slots = 4\nwait_seconds = 2.5").unwrap();
/// assert_eq!((config.slots, config.queue, config.wait.as_millis()), (8, 1024, 2500));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct AdmissionConfig {
    /// How much works at the same time; 64 by default, at least 1.
    pub slots: usize,
    /// How much waits for a slot; 1,024 by default, and with 0 nothing waits.
    pub queue: usize,
    /// How many slots one tenant may have; as many as there are by default, at least 1.
    pub tenant_slots: Option<usize>,
    /// How much of one tenant waits; as much as waits at all by default.
    pub tenant_queue: Option<usize>,
    /// How long something waits at most; 60 seconds by default.
    #[serde(rename = "wait_seconds", with = "crate::types::seconds")]
    pub wait: Duration,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { slots: 64, queue: 1024, tenant_slots: None, tenant_queue: None, wait: Duration::from_secs(60) }
    }
}

impl AdmissionConfig {
    /// So many slots and so many places to wait, with the defaults for the rest.
    #[must_use]
    pub fn new(slots: usize, queue: usize) -> Self {
        Self { slots, queue, ..Self::default() }
    }

    /// Another bound on the slots of one tenant.
    #[must_use]
    pub fn with_tenant_slots(mut self, slots: usize) -> Self {
        self.tenant_slots = Some(slots);
        self
    }

    /// Another bound on what waits of one tenant.
    #[must_use]
    pub fn with_tenant_queue(mut self, queue: usize) -> Self {
        self.tenant_queue = Some(queue);
        self
    }

    /// Another bound on how long something waits.
    #[must_use]
    pub fn with_wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    pub(super) fn check(&self) -> Result<()> {
        let field = match (self.slots, self.tenant_slots) {
            (0, _) => "slots",
            (_, Some(0)) => "tenant_slots",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::InvalidInput, "orchestrator.admission", "nothing could ever be admitted")
            .with("field", field)
            .with("value", 0)
            .with("expected", "at least 1"))
    }
}
