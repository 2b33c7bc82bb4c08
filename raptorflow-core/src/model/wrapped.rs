//! `Wrapped`: models behind the layers, made once for as long as somebody uses them.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock, Weak},
};

use crate::model::{ChatModel, Layers, Model};

/// How many are known before those that nobody uses are looked for.
const FEW: usize = 64;

/// What layers were put before, found by where a model lies in memory.
#[derive(Debug, Default)]
pub(super) struct Wrapped(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    models: HashMap<usize, Pair>,
    /// How many there may be before those that nobody uses are forgotten.
    most: usize,
}

#[derive(Debug)]
struct Pair {
    /// Its place is given to no other model while this points to it, also when the model is gone.
    _inner: Weak<dyn ChatModel>,
    outer: Weak<dyn ChatModel>,
}

impl Wrapped {
    /// The model behind layers, which are always the same ones: from before, where somebody still has it.
    pub(super) fn of(&self, layers: &Layers, model: Model) -> Model {
        if layers.is_empty() {
            return model;
        }
        let place = model.place();
        if let Some(outer) = self.known(place) {
            return outer;
        }
        let inner = model.downgrade();
        let outer = layers.wrap(model);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.models.len() >= known.most {
            known.models.retain(|_, pair| pair.outer.strong_count() > 0);
            known.most = FEW.max(known.models.len() * 2);
        }
        known.models.insert(place, Pair { _inner: inner, outer: outer.downgrade() });
        outer
    }

    fn known(&self, place: usize) -> Option<Model> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.models.get(&place)?.outer.upgrade().map(Model::from_arc)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{OfflineModel, TraceLayer};

    fn offline() -> Model {
        Model::new(OfflineModel::default())
    }

    #[test]
    fn a_model_in_use_is_wrapped_once_and_another_one_apart() {
        let (wrapped, layers, model) = (Wrapped::default(), Layers::new().with(TraceLayer), offline());
        let first = wrapped.of(&layers, model.clone());
        assert_eq!(wrapped.of(&layers, model.clone()).place(), first.place());
        assert_ne!(wrapped.of(&layers, offline()).place(), first.place());
        assert_eq!(wrapped.of(&Layers::new(), model.clone()).place(), model.place());
    }

    #[test]
    fn what_nobody_uses_is_forgotten() {
        let (wrapped, layers) = (Wrapped::default(), Layers::new().with(TraceLayer));
        let kept = wrapped.of(&layers, offline());
        for _ in 0..10 * FEW {
            wrapped.of(&layers, offline());
        }
        let known = wrapped.0.read().unwrap();
        assert!(known.models.len() <= FEW, "{}", known.models.len());
        assert!(known.models.values().any(|pair| pair.outer.ptr_eq(&kept.downgrade())));
    }
}
