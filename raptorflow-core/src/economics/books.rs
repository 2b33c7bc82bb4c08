//! `Books`: what the facts of a ledger add up to, with changes that can be taken back.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    economics::{
        Cap, Payer, Scope, Window,
        fact::{Fact, Ticket},
        scope::Periods,
    },
    types::{Currency, Money, Timestamp},
};

/// How long a run and its agents are remembered after they last spent something.
const KEEP_RUNS: Duration = Duration::from_secs(31 * 24 * 60 * 60);

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
struct Counter {
    period: i32,
    spent: Sum,
    /// The highest percentage that was told.
    #[serde(default)]
    told: u8,
}

/// One scope.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Account {
    /// By window, in the order of [`Window::ALL`].
    counters: [Counter; 3],
    /// Caps that were set for this scope, in the same order.
    caps: [Option<Cap>; 3],
    /// Up to what a run was approved, in millionths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved: Option<i64>,
    last: Timestamp,
    /// The sum of the reservations that are open; derived from them.
    #[serde(skip)]
    held: Held,
}

impl Account {
    fn counter(&mut self, window: Window, periods: Periods) -> &mut Counter {
        let [total, day, month] = &mut self.counters;
        let counter = match window {
            Window::Total => total,
            Window::Day => day,
            Window::Month => month,
        };
        let period = periods.at(window);
        if counter.period != period {
            *counter = Counter { period, ..Counter::default() };
        }
        counter
    }

    fn cap(&mut self, window: Window) -> &mut Option<Cap> {
        let [total, day, month] = &mut self.caps;
        match window {
            Window::Total => total,
            Window::Day => day,
            Window::Month => month,
        }
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

/// A reservation that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    ticket: Ticket,
    id: Arc<str>,
    payer: Payer,
    sum: Sum,
    expires: Timestamp,
}

/// One change that can be taken back.
#[derive(Debug)]
enum Change {
    Account(Scope, Option<Box<Account>>),
    Hold(Ticket, Option<Arc<Hold>>),
    Time(Timestamp),
    Currency(Option<Currency>),
}

/// Changes, oldest first.
#[derive(Debug, Default)]
pub(super) struct Undo(Vec<Change>);

impl Undo {
    /// How many changes there are; see [`Books::take_back`].
    pub(super) fn mark(&self) -> usize {
        self.0.len()
    }
}

/// The state of a ledger: a fold over its facts and nothing else.
#[derive(Debug, Default)]
pub(super) struct Books {
    accounts: HashMap<Scope, Account>,
    holds: HashMap<Ticket, Arc<Hold>>,
    by_id: HashMap<Arc<str>, Ticket>,
    by_expiry: BTreeSet<(Timestamp, Ticket)>,
    /// The currency of the first amount; there is no other one.
    currency: Option<Currency>,
    /// The clock of the ledger: the latest time of its facts.
    time: Timestamp,
}

/// Books as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Kept {
    accounts: Vec<(Scope, Account)>,
    holds: Vec<Hold>,
    currency: Option<Currency>,
    time: Timestamp,
}

impl Books {
    /// The books that were kept.
    pub(super) fn of(kept: Kept) -> Self {
        let mut books = Self {
            accounts: kept.accounts.into_iter().collect(),
            currency: kept.currency,
            time: kept.time,
            ..Self::default()
        };
        for hold in kept.holds {
            books.set_hold(hold.ticket, Some(Arc::new(hold)));
        }
        books
    }

    /// What is stored of the books; runs that have been silent for 31 days are left out.
    pub(super) fn kept(&self) -> Kept {
        let active = |scope: &Scope, account: &Account| {
            let run = matches!(scope, Scope::Run(_) | Scope::Agent(..));
            !run || account.held != Held::default() || account.last.plus(KEEP_RUNS) > self.time
        };
        let accounts = self.accounts.iter().filter(|(scope, account)| active(scope, account));
        let mut kept = Kept {
            accounts: accounts.map(|(scope, account)| (scope.clone(), account.clone())).collect(),
            holds: self.holds.values().map(|hold| Hold::clone(hold)).collect(),
            currency: self.currency,
            time: self.time,
        };
        // The same books are the same bytes.
        kept.accounts.sort_by(|(a, _), (b, _)| a.cmp(b));
        kept.holds.sort_by_key(|hold| hold.ticket);
        kept
    }

    /// How much there is to store.
    pub(super) fn size(&self) -> usize {
        self.accounts.len() + self.holds.len()
    }

    pub(super) fn time(&self) -> Timestamp {
        self.time
    }

    pub(super) fn currency(&self) -> Option<Currency> {
        self.currency
    }

    /// How a scope stands in the periods of a time; one that is not known has spent nothing.
    pub(super) fn standing(&self, scope: &Scope, periods: Periods) -> Standing {
        // A copy, because a counter of an earlier period is empty now, and only `counter` knows.
        let mut account = self.accounts.get(scope).cloned().unwrap_or_default();
        let windows = Window::ALL.map(|window| {
            let Counter { spent, told, .. } = *account.counter(window, periods);
            Total { window, spent, told, cap: *account.cap(window) }
        });
        Standing { windows, held: account.held, approved: account.approved }
    }

    pub(super) fn is_open(&self, ticket: Ticket) -> bool {
        self.holds.contains_key(&ticket)
    }

    /// Lets the clock of the ledger reach a time, and reservations go that have expired by then.
    pub(super) fn advance(&mut self, at: Timestamp, undo: &mut Undo) {
        if at > self.time {
            undo.0.push(Change::Time(self.time));
            self.time = at;
        }
        while let Some((expires, ticket)) = self.by_expiry.first().copied()
            && expires <= self.time
        {
            self.change_hold(ticket, None, undo);
        }
    }

    /// Adds a fact; what cannot be recorded after all is taken back with what `undo` gets.
    pub(super) fn apply(&mut self, at: Timestamp, fact: &Fact, undo: &mut Undo) {
        self.advance(at, undo);
        match fact {
            Fact::Reserved { ticket, id, payer, amount, tokens, expires, model: _ } => {
                self.know_currency(*amount, undo);
                self.withdraw(id, undo);
                let sum = Sum { micros: amount.map_or(0, |amount| amount.micros), tokens: *tokens };
                let hold = Hold {
                    ticket: *ticket,
                    id: Arc::clone(id),
                    payer: payer.clone(),
                    sum,
                    expires: *expires,
                };
                for scope in payer.scopes() {
                    self.change_account(scope, undo, |account| account.last = at);
                }
                self.change_hold(*ticket, Some(Arc::new(hold)), undo);
            }
            Fact::Settled { ticket, spending } => {
                self.know_currency(spending.cost, undo);
                self.change_hold(*ticket, None, undo);
                let micros = spending.cost.map_or(0, |cost| cost.micros);
                let sum = Sum { micros, tokens: spending.usage.total_tokens() };
                let periods = Periods::of(at);
                for scope in spending.payer.scopes() {
                    self.change_account(scope, undo, |account| {
                        for window in Window::ALL {
                            account.counter(window, periods).spent.add(sum);
                        }
                        account.last = at;
                    });
                }
            }
            Fact::Released { ticket } => self.change_hold(*ticket, None, undo),
            Fact::Alerted { scope, window, percent } => {
                self.change_account(scope.clone(), undo, |account| {
                    account.counter(*window, Periods::of(at)).told = *percent;
                });
            }
            Fact::CapSet { scope, window, cap } => {
                self.know_currency(cap.money, undo);
                self.change_account(scope.clone(), undo, |account| {
                    *account.cap(*window) = Some(*cap);
                    // What was told was told of another cap.
                    account.counter(*window, Periods::of(at)).told = 0;
                    account.last = at;
                });
            }
            Fact::Approved { run, up_to } => {
                self.know_currency(Some(*up_to), undo);
                self.change_account(Scope::Run(*run), undo, |account| {
                    account.approved = Some(up_to.micros);
                    account.last = at;
                });
            }
            // What replaces the books as a whole, or ends them, is the ledger's to do.
            Fact::Opened { .. } | Fact::Closed { .. } => {}
        }
    }

    /// Takes back what was done since a mark.
    pub(super) fn take_back(&mut self, undo: &mut Undo, mark: usize) {
        while undo.0.len() > mark {
            match undo.0.pop() {
                Some(Change::Account(scope, Some(before))) => drop(self.accounts.insert(scope, *before)),
                Some(Change::Account(scope, None)) => drop(self.accounts.remove(&scope)),
                Some(Change::Hold(ticket, before)) => drop(self.set_hold(ticket, before)),
                Some(Change::Time(before)) => self.time = before,
                Some(Change::Currency(before)) => self.currency = before,
                None => {}
            }
        }
    }

    /// Removes the reservation of an id.
    pub(super) fn withdraw(&mut self, id: &str, undo: &mut Undo) {
        if let Some(ticket) = self.by_id.get(id).copied() {
            self.change_hold(ticket, None, undo);
        }
    }

    fn know_currency(&mut self, money: Option<Money>, undo: &mut Undo) {
        if let (None, Some(money)) = (self.currency, money) {
            undo.0.push(Change::Currency(None));
            self.currency = Some(money.currency);
        }
    }

    fn change_account(&mut self, scope: Scope, undo: &mut Undo, change: impl FnOnce(&mut Account)) {
        let before = self.accounts.get(&scope).cloned().map(Box::new);
        undo.0.push(Change::Account(scope.clone(), before));
        change(self.accounts.entry(scope).or_default());
    }

    fn change_hold(&mut self, ticket: Ticket, hold: Option<Arc<Hold>>, undo: &mut Undo) {
        let before = self.set_hold(ticket, hold);
        undo.0.push(Change::Hold(ticket, before));
    }

    /// Sets or removes a reservation, with all that is derived from it, and gives the one before.
    fn set_hold(&mut self, ticket: Ticket, hold: Option<Arc<Hold>>) -> Option<Arc<Hold>> {
        let before = self.holds.remove(&ticket);
        if let Some(before) = &before {
            self.by_expiry.remove(&(before.expires, ticket));
            if self.by_id.get(&before.id) == Some(&ticket) {
                self.by_id.remove(&before.id);
            }
            self.add_held(before, -1);
        }
        if let Some(hold) = hold {
            self.by_expiry.insert((hold.expires, ticket));
            self.by_id.insert(Arc::clone(&hold.id), ticket);
            self.add_held(&hold, 1);
            self.holds.insert(ticket, hold);
        }
        before
    }

    fn add_held(&mut self, hold: &Hold, sign: i128) {
        for scope in hold.payer.scopes() {
            let held = &mut self.accounts.entry(scope).or_default().held;
            held.micros += sign * i128::from(hold.sum.micros);
            held.tokens += sign * i128::from(hold.sum.tokens);
        }
    }
}
