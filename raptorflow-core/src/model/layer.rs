//! `Layer` and `Layers`: what stands between a caller and a model, in one fixed order.

use std::{any::Any, collections::BTreeMap, fmt::Debug, sync::Arc};

use crate::model::Model;

/// The place of a layer, outermost first; a request passes them in this order, and its answer in the opposite one.
///
/// The order is fixed because each place means something:
/// a cached answer costs nothing, so `Cache` is outside of `Budget`;
/// another model has a budget, retries and a breaker of its own, so `Cascade` and `Fallback` are outside of those;
/// a reservation covers all tries, so `Budget` is outside of `Retry`;
/// each try is counted and limited, so `Retry` is outside of `CircuitBreaker`, `RateLimit` and `Timeout`;
/// a breaker that is open takes nothing from a limit, so it is outside of `RateLimit`;
/// waiting for a limit is not the model's time, so `Timeout` is the innermost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// One span a call.
    Trace,
    /// Takes personal data out of what is sent, and puts it back into what is answered.
    Redact,
    /// Answers what was answered before.
    Cache,
    /// A cheap model first, a stronger one when its answer will not do.
    Cascade,
    /// Something else when the model fails.
    Fallback,
    /// Reserves what a call may cost, and settles what it did cost.
    Budget,
    /// Tries again what may succeed then.
    Retry,
    /// Stops calling a model that keeps failing.
    CircuitBreaker,
    /// Keeps within calls and tokens a time.
    RateLimit,
    /// Bounds one try.
    Timeout,
}

/// Wraps a model in another one that does something before, after or instead of it.
///
/// # Contract
/// - what is wrapped answers as a model does; see [`ChatModel`](crate::model::ChatModel).
/// - `info` is that of the inner model, or says what the wrapped one can do.
/// - one layer may wrap many models; what it remembers is kept apart by model unless it says otherwise.
///
/// # Examples
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering};
/// use std::sync::Arc;
/// use async_trait::async_trait;
/// use raptorflow_core::{Result, runtime::{Context, Runtime}, types::Message};
/// use raptorflow_core::model::{
///     ChatModel, ChatRequest, ChatStream, Layer, Layers, Model, ModelInfo, OfflineModel, Place,
/// };
///
/// /// Counts calls.
/// #[derive(Clone, Debug, Default)]
/// struct Count(Arc<AtomicUsize>);
///
/// impl Layer for Count {
///     fn place(&self) -> Place {
///         Place::Trace
///     }
///     fn wrap(&self, inner: Model) -> Model {
///         Model::new(Counted(self.clone(), inner))
///     }
/// }
///
/// #[derive(Debug)]
/// struct Counted(Count, Model);
///
/// #[async_trait]
/// impl ChatModel for Counted {
///     fn info(&self) -> &ModelInfo {
///         self.1.info()
///     }
///     async fn stream(&self, ctx: &Context, request: &ChatRequest) -> Result<ChatStream> {
///         self.0.0.fetch_add(1, Ordering::Relaxed);
///         self.1.stream(ctx, request).await
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<()> {
/// let count = Count::default();
/// let model = Layers::new().with(count.clone()).wrap(Model::new(OfflineModel::default()));
/// let ctx = Context::new(&Runtime::current()?);
/// model.complete(&ctx, &ChatRequest::new(vec![Message::user("What is a journal?")])).await?;
/// assert_eq!(count.0.load(Ordering::Relaxed), 1);
/// # Ok(())
/// # }
/// ```
pub trait Layer: Any + Debug + Send + Sync {
    /// Where it stands.
    fn place(&self) -> Place;

    /// The model behind this layer.
    fn wrap(&self, inner: Model) -> Model;
}

/// Layers in the order of their places, whatever the order in which they were given; cloning shares them.
#[derive(Clone, Debug, Default)]
pub struct Layers(BTreeMap<Place, Arc<dyn Layer>>);

impl Layers {
    /// No layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a layer; it takes the place of an earlier one at the same place.
    #[must_use]
    pub fn with(mut self, layer: impl Layer) -> Self {
        self.0.insert(layer.place(), Arc::new(layer));
        self
    }

    /// Leaves a place empty.
    #[must_use]
    pub fn without(mut self, place: Place) -> Self {
        self.0.remove(&place);
        self
    }

    /// Whether no place is taken.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The places that are taken, outermost first.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        self.0.keys().copied()
    }

    /// The layer of a type, to see what it counts.
    ///
    /// ```
    /// use raptorflow_core::model::{CircuitBreakerLayer, Layers};
    /// let breakers = Layers::standard().find::<CircuitBreakerLayer>().map(CircuitBreakerLayer::states);
    /// assert_eq!(breakers, Some(vec![]));
    /// ```
    #[must_use]
    pub fn find<T: Layer>(&self) -> Option<&T> {
        self.0.values().find_map(|layer| {
            let any: &dyn Any = &**layer;
            any.downcast_ref()
        })
    }

    /// The model behind all layers.
    #[must_use]
    pub fn wrap(&self, model: Model) -> Model {
        // The last place is the innermost, so it is wrapped first.
        self.0.values().rev().fold(model, |inner, layer| layer.wrap(inner))
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::{
        error::Result,
        model::{ChatModel, ChatRequest, ChatStream, ModelInfo},
        runtime::Context,
    };

    /// Writes its place in front of the model's name.
    #[derive(Debug)]
    struct Named(Place);

    #[derive(Debug)]
    struct Behind(ModelInfo);

    impl Layer for Named {
        fn place(&self) -> Place {
            self.0
        }

        fn wrap(&self, inner: Model) -> Model {
            let name = format!("{:?} {}", self.0, inner.info().name).into();
            Model::new(Behind(ModelInfo { name, ..inner.info().clone() }))
        }
    }

    #[async_trait]
    impl ChatModel for Behind {
        fn info(&self) -> &ModelInfo {
            &self.0
        }

        async fn stream(&self, _: &Context, _: &ChatRequest) -> Result<ChatStream> {
            Ok(Box::pin(futures_util::stream::empty()))
        }
    }

    #[test]
    fn layers_stand_in_their_places_and_not_in_the_order_of_giving() {
        let info = ModelInfo::new("x");
        let layers = Layers::new()
            .with(Named(Place::Timeout))
            .with(Named(Place::Trace))
            .with(Named(Place::Budget))
            .with(Named(Place::Retry));
        let model = layers.wrap(Model::new(Behind(info.clone())));
        assert_eq!(&*model.info().name, "Trace Budget Retry Timeout x");
        let fewer = layers.without(Place::Budget).wrap(Model::new(Behind(info)));
        assert_eq!(&*fewer.info().name, "Trace Retry Timeout x");
    }
}
