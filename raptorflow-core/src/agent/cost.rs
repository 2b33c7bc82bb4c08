//! `Cost`: what the calls of a run came to.

use serde::{Deserialize, Serialize};

use crate::types::Money;

/// A sum of costs that one unknown price makes unknown.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) enum Cost {
    Nothing,
    Known(Money),
    Unknown,
}

impl Cost {
    /// Amounts of two currencies have no sum either.
    pub(super) fn plus(self, cost: Option<Money>) -> Self {
        match (self, cost) {
            (Self::Unknown, _) | (_, None) => Self::Unknown,
            (Self::Nothing, Some(cost)) => Self::Known(cost),
            (Self::Known(sum), Some(cost)) => sum.plus(cost).map_or(Self::Unknown, Self::Known),
        }
    }

    /// Whether it has come to a bound; what cannot be compared with it has.
    pub(super) fn reaches(self, cap: Money) -> bool {
        match self {
            Self::Nothing => cap.micros <= 0,
            Self::Known(sum) => sum.currency != cap.currency || sum.micros >= cap.micros,
            Self::Unknown => true,
        }
    }

    /// The sum, where there is one.
    pub(super) fn known(self) -> Option<Money> {
        match self {
            Self::Known(sum) => Some(sum),
            Self::Nothing | Self::Unknown => None,
        }
    }
}
