//! `Books`: what the facts of a ledger add up to, with changes that can be taken back.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, btree_map},
    hash::BuildHasherDefault,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    economics::{
        Payer, Scope,
        account::{Account, Held, Places, Standing, Sum},
        fact::{Fact, Ticket, TicketHasher},
        scope::{Moment, Periods},
    },
    types::{Currency, Money, Timestamp},
};

/// How long a run and its agents are remembered after they last spent something.
const KEEP_RUNS: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// A reservation that is open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Hold {
    ticket: Ticket,
    id: Arc<str>,
    payer: Payer,
    sum: Sum,
    expires: Timestamp,
}

/// A reservation with the accounts that it is counted in.
#[derive(Clone, Debug)]
struct Open {
    hold: Hold,
    places: Places,
}

/// One change that can be taken back.
#[derive(Debug)]
enum Change {
    /// The newest account is new.
    Opened,
    /// An account as it was before.
    Account(usize, Account),
    Hold(Ticket, Option<Open>),
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

    /// Forgets what was changed, and keeps room for so many changes at most.
    pub(super) fn clear(&mut self, room: usize) {
        self.0.clear();
        self.0.shrink_to(room);
    }
}

/// The state of a ledger: a fold over its facts and nothing else.
#[derive(Debug)]
pub(super) struct Books {
    /// In the order in which they were opened: an account is looked up by its scope once, and found by its number from
    /// then on.
    accounts: Vec<(Scope, Account)>,
    numbers: HashMap<Scope, usize>,
    /// The payer of the newest call with the accounts of its scopes: one run makes many calls.
    newest: Option<(Payer, Places)>,
    holds: HashMap<Ticket, Open, BuildHasherDefault<TicketHasher>>,
    /// In order and not by hash: those of the calls under way are few, and the ids are chosen by whoever calls.
    by_id: BTreeMap<Arc<str>, Ticket>,
    by_expiry: BTreeSet<(Timestamp, Ticket)>,
    /// The currency of the first amount; there is no other one.
    currency: Option<Currency>,
    /// The clock of the ledger: the latest time of its facts.
    time: Timestamp,
}

/// A ticket behind all others, which nobody has.
const NOBODY: Ticket = Ticket(Uuid::max());

impl Default for Books {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            numbers: HashMap::new(),
            newest: None,
            holds: HashMap::default(),
            // One of nobody stays, so that the memory does not come and go with the only call under way.
            by_id: BTreeMap::from([(Arc::from("\u{10ffff}"), NOBODY)]),
            by_expiry: BTreeSet::from([(Timestamp::from_micros(i64::MAX), NOBODY)]),
            currency: None,
            time: Timestamp::default(),
        }
    }
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
        let mut books = Self { currency: kept.currency, time: kept.time, ..Self::default() };
        for (scope, account) in kept.accounts {
            let number = books.number(scope, &mut Undo::default());
            if let Some((_, new)) = books.accounts.get_mut(number) {
                *new = account;
            }
        }
        for hold in kept.holds {
            let places = books.places(&hold.payer, &mut Undo::default());
            books.set_hold(hold.ticket, Some(Open { hold, places }));
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
            accounts: accounts.cloned().collect(),
            holds: self.holds.values().map(|open| open.hold.clone()).collect(),
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
        let number = self.numbers.get(scope).copied();
        let account =
            number.and_then(|number| self.account(number)).map_or_else(Account::default, |(_, it)| *it);
        account.standing(periods)
    }

    /// An account by its number, with its scope.
    pub(super) fn account(&self, number: usize) -> Option<&(Scope, Account)> {
        self.accounts.get(number)
    }

    pub(super) fn is_open(&self, ticket: Ticket) -> bool {
        self.holds.contains_key(&ticket)
    }

    /// The accounts that a payer's calls are counted in, outermost first; those that there were not are opened.
    pub(super) fn places(&mut self, payer: &Payer, undo: &mut Undo) -> Places {
        if let Some((newest, places)) = &self.newest
            && newest == payer
        {
            return places.clone();
        }
        let mut places = Places::default();
        for scope in payer.scopes() {
            places.push(self.number(scope, undo));
        }
        self.newest = Some((payer.clone(), places.clone()));
        places
    }

    /// The account of one scope, where there is one.
    pub(super) fn place(&self, scope: &Scope) -> Places {
        let mut places = Places::default();
        self.numbers.get(scope).into_iter().for_each(|number| places.push(*number));
        places
    }

    /// Lets the clock of the ledger reach a time, and reservations go that have expired by then.
    pub(super) fn advance(&mut self, at: Timestamp, undo: &mut Undo) {
        if at > self.time {
            undo.0.push(Change::Time(self.time));
            self.time = at;
        }
        while let Some((expires, ticket)) = self.by_expiry.first().copied()
            && expires <= self.time
            && ticket != NOBODY
        {
            self.change_hold(ticket, None, undo);
        }
    }

    /// Adds a fact; what cannot be recorded after all is taken back with what `undo` gets.
    pub(super) fn apply(&mut self, now: Moment, fact: &Fact, undo: &mut Undo) {
        self.apply_in(None, now, fact, undo);
    }

    /// The same for a fact of a payer whose accounts are known; gives those of the fact's payer, where it has one.
    pub(super) fn apply_in(
        &mut self,
        known: Option<Places>,
        now: Moment,
        fact: &Fact,
        undo: &mut Undo,
    ) -> Places {
        let Moment { at, periods } = now;
        self.advance(at, undo);
        match fact {
            Fact::Reserved { ticket, id, payer, amount, tokens, expires, model: _ } => {
                self.know_currency(*amount, undo);
                // Who knows the accounts has looked for that of the same id.
                if known.is_none() {
                    self.withdraw(id, undo);
                }
                let sum = Sum { micros: amount.map_or(0, |amount| amount.micros), tokens: *tokens };
                let hold = Hold {
                    ticket: *ticket,
                    id: Arc::clone(id),
                    payer: payer.clone(),
                    sum,
                    expires: *expires,
                };
                let places = known.unwrap_or_else(|| self.places(payer, undo));
                for number in places.iter() {
                    self.change_account(number, undo, |account| account.last = at);
                }
                self.change_hold(*ticket, Some(Open { hold, places: places.clone() }), undo);
                return places;
            }
            Fact::Settled { ticket, spending } => {
                self.know_currency(spending.cost, undo);
                let open = self.change_hold(*ticket, None, undo);
                let known =
                    open.filter(|open| open.hold.payer == spending.payer).map(|open| open.places.clone());
                let places = match known {
                    Some(places) => places,
                    None => self.places(&spending.payer, undo),
                };
                let micros = spending.cost.map_or(0, |cost| cost.micros);
                let sum = Sum { micros, tokens: spending.usage.total_tokens() };
                for number in places.iter() {
                    self.change_account(number, undo, |account| account.spend(sum, periods, at));
                }
                return places;
            }
            Fact::Released { ticket } => {
                self.change_hold(*ticket, None, undo);
            }
            Fact::Alerted { scope, window, percent } => {
                self.change_scope(scope, undo, |account| {
                    account.counter(*window, periods).told = *percent;
                });
            }
            Fact::CapSet { scope, window, cap } => {
                self.know_currency(cap.money, undo);
                self.change_scope(scope, undo, |account| {
                    *account.cap(*window) = Some(*cap);
                    // What was told was told of another cap.
                    account.counter(*window, periods).told = 0;
                    account.last = at;
                });
            }
            Fact::Approved { run, up_to } => {
                self.know_currency(Some(*up_to), undo);
                self.change_scope(&Scope::Run(*run), undo, |account| {
                    account.approved = Some(up_to.micros);
                    account.last = at;
                });
            }
            // What replaces the books as a whole, or ends them, is the ledger's to do.
            Fact::Opened { .. } | Fact::Closed { .. } => {}
        }
        Places::default()
    }

    /// Takes back what was done since a mark.
    pub(super) fn take_back(&mut self, undo: &mut Undo, mark: usize) {
        while undo.0.len() > mark {
            match undo.0.pop() {
                Some(Change::Opened) => {
                    if let Some((scope, _)) = self.accounts.pop() {
                        self.numbers.remove(&scope);
                        self.newest = None;
                    }
                }
                Some(Change::Account(number, before)) => {
                    if let Some((_, account)) = self.accounts.get_mut(number) {
                        *account = before;
                    }
                }
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

    /// The number of a scope's account, which is opened when there is none.
    fn number(&mut self, scope: Scope, undo: &mut Undo) -> usize {
        if let Some(number) = self.numbers.get(&scope) {
            return *number;
        }
        let number = self.accounts.len();
        undo.0.push(Change::Opened);
        self.numbers.insert(scope.clone(), number);
        self.accounts.push((scope, Account::default()));
        number
    }

    fn change_scope(&mut self, scope: &Scope, undo: &mut Undo, change: impl FnOnce(&mut Account)) {
        let number = self.number(scope.clone(), undo);
        self.change_account(number, undo, change);
    }

    fn change_account(&mut self, number: usize, undo: &mut Undo, change: impl FnOnce(&mut Account)) {
        if let Some((_, account)) = self.accounts.get_mut(number) {
            undo.0.push(Change::Account(number, *account));
            change(account);
        }
    }

    /// Sets or removes a reservation and gives the one before.
    fn change_hold<'u>(
        &mut self,
        ticket: Ticket,
        hold: Option<Open>,
        undo: &'u mut Undo,
    ) -> Option<&'u Open> {
        let before = self.set_hold(ticket, hold);
        undo.0.push(Change::Hold(ticket, before));
        match undo.0.last() {
            Some(Change::Hold(_, before)) => before.as_ref(),
            _ => None,
        }
    }

    /// Sets or removes a reservation, with all that is derived from it, and gives the one before.
    fn set_hold(&mut self, ticket: Ticket, open: Option<Open>) -> Option<Open> {
        let before = self.holds.remove(&ticket);
        if let Some(Open { hold, places }) = &before {
            self.by_expiry.remove(&(hold.expires, ticket));
            if let btree_map::Entry::Occupied(named) = self.by_id.entry(Arc::clone(&hold.id))
                && *named.get() == ticket
            {
                named.remove();
            }
            self.add_held(places, hold.sum, -1);
        }
        if let Some(open) = open {
            self.by_expiry.insert((open.hold.expires, ticket));
            self.by_id.insert(Arc::clone(&open.hold.id), ticket);
            self.add_held(&open.places, open.hold.sum, 1);
            self.holds.insert(ticket, open);
        }
        before
    }

    fn add_held(&mut self, places: &Places, sum: Sum, sign: i128) {
        for number in places.iter() {
            if let Some((_, account)) = self.accounts.get_mut(number) {
                account.held.micros += sign * i128::from(sum.micros);
                account.held.tokens += sign * i128::from(sum.tokens);
            }
        }
    }
}
