//! `Account`: what one scope has spent and set aside, and `Places`, the accounts that a call is counted in.

use serde::{Deserialize, Serialize};

use crate::{
    economics::{Cap, Window, scope::Periods},
    types::Timestamp,
};

/// How many accounts of a payer are kept without an allocation: tenant, user, run and three agents.
const FEW: usize = 6;

/// Money in millionths, and tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sum {
    pub(super) micros: i64,
    pub(super) tokens: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.micros = self.micros.saturating_add(other.micros);
        self.tokens = self.tokens.saturating_add(other.tokens);
    }
}

/// What is reserved; wide, so that what goes in comes out again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) micros: i128,
    pub(super) tokens: i128,
}

/// What was spent in the period that a window was last used in, and which alert it had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counter {
    period: i32,
    spent: Sum,
    /// The highest percentage that was told.
    #[serde(default)]
    pub(super) told: u8,
}

impl Counter {
    /// The same in a period: one of an earlier period is empty now.
    fn within(self, period: i32) -> Self {
        if self.period == period { self } else { Self { period, ..Self::default() } }
    }
}

/// One scope.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    /// By window, in the order of [`Window::ALL`].
    counters: [Counter; 3],
    /// Caps that were set for this scope, in the same order.
    caps: [Option<Cap>; 3],
    /// Up to what a run was approved, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) approved: Option<i64>,
    pub(super) last: Timestamp,
    /// The sum of the reservations that are open; derived from them.
    #[serde(skip)]
    pub(super) held: Held,
}

impl Account {
    /// The counter of a window, empty when a new period has begun.
    pub(super) fn counter(&mut self, window: Window, periods: Periods) -> &mut Counter {
        let [total, day, month] = &mut self.counters;
        let counter = match window {
            Window::Total => total,
            Window::Day => day,
            Window::Month => month,
        };
        *counter = counter.within(periods.at(window));
        counter
    }

    pub(super) fn cap(&mut self, window: Window) -> &mut Option<Cap> {
        let [total, day, month] = &mut self.caps;
        match window {
            Window::Total => total,
            Window::Day => day,
            Window::Month => month,
        }
    }

    /// Adds what a call took to every window.
    pub(super) fn spend(&mut self, sum: Sum, periods: Periods, at: Timestamp) {
        for window in Window::ALL {
            self.counter(window, periods).spent.add(sum);
        }
        self.last = at;
    }

    /// What was spent in the present period of each window, in the order of [`Window::ALL`].
    pub(super) fn totals(&self, periods: Periods) -> [Total; 3] {
        let total = |window: Window, counter: Counter, cap: Option<Cap>| {
            let Counter { spent, told, .. } = counter.within(periods.at(window));
            Total { window, spent, told, cap }
        };
        let ([total_spent, day_spent, month_spent], [total_cap, day_cap, month_cap]) =
            (self.counters, self.caps);
        [
            total(Window::Total, total_spent, total_cap),
            total(Window::Day, day_spent, day_cap),
            total(Window::Month, month_spent, month_cap),
        ]
    }

    /// How the scope stands in the periods of a time.
    pub(super) fn standing(&self, periods: Periods) -> Standing {
        Standing { windows: self.totals(periods), held: self.held, approved: self.approved }
    }
}

/// How a scope stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    /// In the order of [`Window::ALL`].
    pub(super) windows: [Total; 3],
    pub(super) held: Held,
    /// Up to what a run was approved, in millionths.
    pub(super) approved: Option<i64>,
}

/// What a scope spent in the present period of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Total {
    pub(super) window: Window,
    pub(super) spent: Sum,
    /// The highest percentage that was told of a cap.
    pub(super) told: u8,
    /// The cap that was set, if one was.
    pub(super) cap: Option<Cap>,
}

/// The numbers of the accounts that a call is counted in, outermost first; those of most calls need no allocation.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    few: [usize; FEW],
    count: usize,
    more: Vec<usize>,
}

impl Places {
    pub(super) fn push(&mut self, number: usize) {
        match self.few.get_mut(self.count) {
            Some(free) => *free = number,
            None => self.more.push(number),
        }
        self.count += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = usize> {
        self.few.iter().take(self.count).chain(&self.more).copied()
    }
}
