//! The layers that an engine puts before every model unless it is told otherwise.

use super::breaker::patient;
use crate::{
    event::Bus,
    model::{BreakerConfig, CircuitBreakerLayer, Layers, RetryLayer, TimeoutLayer, TraceLayer},
};

impl Layers {
    /// What every model should have: [`TraceLayer`], [`RetryLayer`], [`CircuitBreakerLayer`] and [`TimeoutLayer`], each
    /// with its defaults.
    ///
    /// One call has three tries, with random pauses up to 0.5 and 1 second, or as long as the model asks, up to 60
    /// seconds.
    /// A try may take 180 seconds to its first part, 60 seconds between parts, and 600 seconds in all.
    /// After 5 failures within 300 seconds, which are at least half of the calls, a model is left alone for 60 seconds.
    ///
    /// One setting differs from the default of [`BreakerConfig`]: a slow beginning is a failure after the 180 seconds
    /// that the time-out allows, not after 30, since models that think first are slow and not broken.
    ///
    /// ```
    /// use raptorflow_core::model::{Layers, Place};
    /// let places: Vec<Place> = Layers::standard().places().collect();
    /// assert_eq!(places, [Place::Trace, Place::Retry, Place::CircuitBreaker, Place::Timeout]);
    /// ```
    #[must_use]
    pub fn standard() -> Self {
        Self::with_breakers(CircuitBreakerLayer::new(breakers()))
    }

    /// The same as [`Layers::standard`], with changes of its circuit breakers told on a bus.
    #[must_use]
    pub fn standard_on(bus: Bus) -> Self {
        Self::with_breakers(CircuitBreakerLayer::new(breakers()).with_bus(bus))
    }

    fn with_breakers(breakers: CircuitBreakerLayer) -> Self {
        Self::new().with(TraceLayer).with(RetryLayer::default()).with(breakers).with(TimeoutLayer::default())
    }
}

/// The settings of the standard breakers.
pub(super) fn breakers() -> BreakerConfig {
    BreakerConfig { timeout: patient(), ..BreakerConfig::default() }
}
