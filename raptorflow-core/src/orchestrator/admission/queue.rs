//! `Queue`: who has a slot, who waits, and who is next; without input, output or time of its own.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    event::Priority,
    orchestrator::AdmissionConfig,
    types::{RunId, TenantId},
};

/// How urgent work can be, the most urgent first.
const LANES: [Priority; 4] = [Priority::Critical, Priority::High, Priority::Normal, Priority::Low];
/// How much of the pace the newest work makes up, as a divisor.
const PACE: u32 = 8;

/// Work that asks for a slot, or has one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) tenant: TenantId,
    pub(super) run: RunId,
    pub(super) path: Arc<str>,
}

/// A bound that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    Queue,
    TenantQueue,
    /// It waited and made way for more urgent work.
    Urgency,
    Wait,
}

/// What is said to work that asks.
#[derive(Debug)]
pub(super) enum Answer<W> {
    /// It works inside of work that has a slot, and needs none.
    Inside,
    Begins,
    /// It waits under this number; somebody else may have had to make way.
    Waits {
        ticket: u64,
        shed: Option<W>,
    },
    Refused(Bound, W),
}

#[derive(Debug)]
struct Waiting<W> {
    place: Place,
    waker: W,
}

/// What waits at one urgency, by tenant and then in the order of arrival; no tenant is empty.
type Lane<W> = BTreeMap<TenantId, BTreeMap<u64, Waiting<W>>>;

/// Generic over how whoever waits is told.
#[derive(Debug)]
pub(super) struct Queue<W> {
    config: AdmissionConfig,
    running: usize,
    waiting: usize,
    /// Slots by tenant; who has none is not in here.
    slots: HashMap<TenantId, usize>,
    /// What waits by tenant, at any urgency; who has nothing is not in here.
    waits: HashMap<TenantId, usize>,
    /// Where work has a slot.
    places: HashMap<RunId, Vec<Arc<str>>>,
    lanes: [Lane<W>; 4],
    next: u64,
    /// How long work holds its slot of late; zero until some has ended.
    pace: Duration,
}

impl<W> Queue<W> {
    pub(super) fn new(config: AdmissionConfig) -> Self {
        Self {
            config,
            running: 0,
            waiting: 0,
            slots: HashMap::new(),
            waits: HashMap::new(),
            places: HashMap::new(),
            lanes: Default::default(),
            next: 0,
            pace: Duration::ZERO,
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    /// When a slot may be free for work that comes behind all that waits now; `None` when nobody can know.
    pub(super) fn pause(&self) -> Option<Duration> {
        let behind = u32::try_from(self.waiting.saturating_add(1)).unwrap_or(u32::MAX);
        let slots = u32::try_from(self.config.slots).unwrap_or(u32::MAX).max(1);
        let pause = self.pace.saturating_mul(behind) / slots;
        (!pause.is_zero()).then_some(pause)
    }

    /// Work asks to begin.
    pub(super) fn ask(&mut self, place: &Place, priority: Priority, waker: W) -> Answer<W> {
        if self.is_inside(place) {
            return Answer::Inside;
        }
        // Whatever waits and could begin has begun when a slot became free, so that nobody is overtaken here.
        if self.may_begin(&place.tenant) {
            self.begin(place);
            return Answer::Begins;
        }
        let of_tenant = self.waits.get(&place.tenant).copied().unwrap_or_default();
        if self.config.tenant_queue.is_some_and(|bound| of_tenant >= bound) {
            return Answer::Refused(Bound::TenantQueue, waker);
        }
        let mut shed = None;
        if self.waiting >= self.config.queue {
            shed = self.shed(priority);
            if shed.is_none() {
                return Answer::Refused(Bound::Queue, waker);
            }
        }
        let ticket = self.next;
        self.next += 1;
        self.waiting += 1;
        *self.waits.entry(place.tenant.clone()).or_default() += 1;
        let waiting = Waiting { place: place.clone(), waker };
        if let Some(lane) = self.lanes.get_mut(lane_of(priority)) {
            lane.entry(place.tenant.clone()).or_default().insert(ticket, waiting);
        }
        Answer::Waits { ticket, shed }
    }

    /// Work does not wait any more; whether it did.
    pub(super) fn leave(&mut self, place: &Place, priority: Priority, ticket: u64) -> bool {
        self.take(lane_of(priority), &place.tenant, ticket).is_some()
    }

    /// Work has ended after so long; says who begins in its place.
    pub(super) fn end(&mut self, place: &Place, held: Duration) -> Vec<(Place, W)> {
        self.pace = if self.pace.is_zero() { held } else { self.pace - self.pace / PACE + held / PACE };
        self.running = self.running.saturating_sub(1);
        less(&mut self.slots, &place.tenant);
        if let Some(paths) = self.places.get_mut(&place.run) {
            if let Some(at) = paths.iter().position(|path| *path == place.path) {
                paths.swap_remove(at);
            }
            if paths.is_empty() {
                self.places.remove(&place.run);
            }
        }
        let mut begun = Vec::new();
        while let Some((lane, tenant, ticket)) = self.next_up() {
            let Some(Waiting { place, waker }) = self.take(lane, &tenant, ticket) else { break };
            self.begin(&place);
            begun.push((place, waker));
        }
        begun
    }

    /// Whether work of the same run that is above this has a slot.
    fn is_inside(&self, place: &Place) -> bool {
        let Some(paths) = self.places.get(&place.run) else { return false };
        let below = |above: &str| {
            above.is_empty()
                || place.path.strip_prefix(above).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        paths.iter().any(|path| below(path))
    }

    fn may_begin(&self, tenant: &TenantId) -> bool {
        let of_tenant = || self.slots.get(tenant).copied().unwrap_or_default();
        self.running < self.config.slots && self.config.tenant_slots.is_none_or(|bound| of_tenant() < bound)
    }

    fn begin(&mut self, place: &Place) {
        self.running += 1;
        *self.slots.entry(place.tenant.clone()).or_default() += 1;
        self.places.entry(place.run).or_default().push(Arc::clone(&place.path));
    }

    /// Of the most urgent that may begin, the tenant with the fewest slots, and of that who waits longest.
    fn next_up(&self) -> Option<(usize, TenantId, u64)> {
        self.lanes.iter().enumerate().find_map(|(lane, tenants)| {
            let may = tenants.iter().filter(|(tenant, _)| self.may_begin(tenant));
            let first = may.filter_map(|(tenant, waiting)| Some((tenant, *waiting.first_key_value()?.0)));
            let slots = |tenant: &TenantId| self.slots.get(tenant).copied().unwrap_or_default();
            let (tenant, ticket) = first.min_by_key(|(tenant, ticket)| (slots(tenant), *ticket))?;
            Some((lane, tenant.clone(), ticket))
        })
    }

    /// Of the least urgent that waits, if that is less urgent than `priority`, the newest of the tenant with most.
    fn shed(&mut self, priority: Priority) -> Option<W> {
        let (lane, tenants) = self.lanes.iter().enumerate().rfind(|(_, tenants)| !tenants.is_empty())?;
        if lane <= lane_of(priority) {
            return None;
        }
        let (tenant, waiting) = tenants.iter().max_by_key(|(_, waiting)| waiting.len())?;
        let (tenant, ticket) = (tenant.clone(), *waiting.last_key_value()?.0);
        self.take(lane, &tenant, ticket).map(|it| it.waker)
    }

    fn take(&mut self, lane: usize, tenant: &TenantId, ticket: u64) -> Option<Waiting<W>> {
        let lane = self.lanes.get_mut(lane)?;
        let of_tenant = lane.get_mut(tenant)?;
        let taken = of_tenant.remove(&ticket)?;
        if of_tenant.is_empty() {
            lane.remove(tenant);
        }
        self.waiting = self.waiting.saturating_sub(1);
        less(&mut self.waits, tenant);
        Some(taken)
    }

    /// Whether nothing of any work is left.
    #[cfg(test)]
    pub(super) fn is_clear(&self) -> bool {
        self.running == 0
            && self.waiting == 0
            && self.slots.is_empty()
            && self.waits.is_empty()
            && self.places.is_empty()
            && self.lanes.iter().all(BTreeMap::is_empty)
    }

    /// Slots of a tenant, and what waits of it.
    #[cfg(test)]
    pub(super) fn of_tenant(&self, tenant: &TenantId) -> (usize, usize) {
        let of = |counts: &HashMap<TenantId, usize>| counts.get(tenant).copied().unwrap_or_default();
        (of(&self.slots), of(&self.waits))
    }
}

fn lane_of(priority: Priority) -> usize {
    LANES.iter().position(|it| *it == priority).unwrap_or(LANES.len() - 1)
}

fn less(counts: &mut HashMap<TenantId, usize>, tenant: &TenantId) {
    if let Some(count) = counts.get_mut(tenant) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(tenant);
        }
    }
}
