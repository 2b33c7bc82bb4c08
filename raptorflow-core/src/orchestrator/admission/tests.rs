//! Tests of the admission: order, bounds, and nothing left behind.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context as Waking, Poll, Waker},
    time::Duration,
};

use futures_util::FutureExt as _;

use crate::{
    error::{Error, ErrorKind, Result, Retry},
    event::{Bus, BusConfig, History, Priority},
    orchestrator::{Admission, AdmissionConfig, Permit},
    runtime::{Context, Runtime, Tasks},
    testing::ManualClock,
    types::TenantId,
};

const SECOND: Duration = Duration::from_secs(1);

type Asking = Pin<Box<dyn Future<Output = Result<Permit>>>>;

/// An admission, time, and contexts of new runs.
struct Office {
    clock: ManualClock,
    runtime: Runtime,
    admission: Admission,
}

impl Office {
    fn new(config: AdmissionConfig) -> Self {
        let clock = ManualClock::new();
        let runtime = Runtime::new(Arc::new(clock.clone()), Tasks::current().unwrap());
        Self { clock, runtime, admission: Admission::new(config).unwrap() }
    }

    fn context(&self, tenant: &str) -> Context {
        Context::new(&self.runtime).with_tenant(TenantId::new(tenant).unwrap())
    }

    /// Asks for a slot; what was asked is in the queue, or has been told.
    fn ask(&self, tenant: &str, priority: Priority) -> Asking {
        self.ask_at(self.context(tenant), priority)
    }

    fn ask_at(&self, ctx: Context, priority: Priority) -> Asking {
        let admission = self.admission.clone();
        // Tests poll from one task, which would else have used up what Tokio lets it do at a time.
        let mut asking: Asking =
            Box::pin(tokio::task::unconstrained(async move { admission.admit(&ctx, priority).await }));
        match poll(&mut asking) {
            Poll::Ready(told) => Box::pin(async move { told }),
            Poll::Pending => asking,
        }
    }

    fn counts(&self) -> (usize, usize) {
        let stats = self.admission.stats();
        (stats.running, stats.waiting)
    }
}

fn poll(asking: &mut Asking) -> Poll<Result<Permit>> {
    asking.as_mut().poll(&mut Waking::from_waker(Waker::noop()))
}

/// What was told to somebody, who must have been told by now.
#[track_caller]
fn told(asking: Asking) -> Result<Permit> {
    asking.now_or_never().expect("it still waits")
}

#[track_caller]
fn refused(asking: Asking) -> Error {
    told(asking).expect_err("it was admitted")
}

#[tokio::test]
async fn the_most_urgent_comes_first_and_among_equals_who_waits_longest() {
    let office = Office::new(AdmissionConfig::new(1, 10));
    let mut held = told(office.ask("a", Priority::Low)).unwrap();
    let order = [Priority::Low, Priority::Normal, Priority::Critical, Priority::Normal, Priority::High];
    let mut waiting: Vec<(usize, Asking)> =
        order.into_iter().map(|priority| office.ask("a", priority)).enumerate().collect();
    let mut begun = Vec::new();
    while !waiting.is_empty() {
        drop(held);
        let at = waiting.iter_mut().position(|(_, asking)| match poll(asking) {
            Poll::Ready(told) => {
                *asking = Box::pin(async move { told });
                true
            }
            Poll::Pending => false,
        });
        let (number, asking) = waiting.remove(at.expect("a free slot is given"));
        begun.push(number);
        held = told(asking).unwrap();
    }
    drop(held);
    assert_eq!(begun, [2, 4, 1, 3, 0]);
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn a_tenant_that_asks_much_leaves_room_for_one_that_asks_little() {
    let office = Office::new(AdmissionConfig::new(2, 1000));
    let held: Vec<Permit> = (0..2).map(|_| told(office.ask("loud", Priority::Normal)).unwrap()).collect();
    let loud: Vec<Asking> = (0..500).map(|_| office.ask("loud", Priority::Normal)).collect();
    let quiet = office.ask("quiet", Priority::Normal);
    drop(held);
    let quiet = told(quiet).unwrap();
    assert_eq!(office.admission.of_tenant(&TenantId::new("loud").unwrap()), (1, 499));
    drop((loud, quiet));
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn a_tenant_has_at_most_its_slots_and_places_and_others_are_not_held_up() {
    let config = AdmissionConfig::new(3, 10).with_tenant_slots(1).with_tenant_queue(2);
    let office = Office::new(config);
    let first = told(office.ask("a", Priority::Normal)).unwrap();
    let waiting = [office.ask("a", Priority::Normal), office.ask("a", Priority::Critical)];
    assert_eq!(refused(office.ask("a", Priority::Critical)).get("bound"), Some("tenant_queue"));
    let other = told(office.ask("b", Priority::Low)).unwrap();
    assert_eq!(office.counts(), (2, 2));
    drop(first);
    let [later, sooner] = waiting;
    let sooner = told(sooner).unwrap();
    assert_eq!(office.counts(), (2, 1));
    drop((later, sooner, other));
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_which_bound_and_when_to_come_back() {
    let office = Office::new(AdmissionConfig::new(2, 2));
    let mut held: Vec<Permit> = (0..2).map(|_| told(office.ask("a", Priority::Normal)).unwrap()).collect();
    let waiting: Vec<Asking> = (0..2).map(|_| office.ask("a", Priority::Normal)).collect();
    let err = refused(office.ask("a", Priority::Normal));
    let of = |key| err.get(key);
    assert_eq!((err.kind(), of("bound"), of("limit")), (ErrorKind::RateLimited, Some("queue"), Some("2")));
    assert_eq!((of("slots"), of("waiting"), err.retry()), (Some("2"), Some("2"), Retry::Soon));
    // Nothing has ended yet, so nobody knew when; now something took four seconds.
    office.clock.advance(4 * SECOND);
    held.pop();
    let fresh = office.ask("a", Priority::Normal);
    let err = refused(office.ask("a", Priority::Normal));
    assert_eq!(err.retry(), Retry::After(6 * SECOND), "three pieces of work at four seconds in two slots");
    drop((held, waiting, fresh));
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn a_thousand_that_want_one_slot_each_get_it_in_turn() {
    let office = Office::new(AdmissionConfig::new(1, 999));
    let mut asking: Vec<Asking> = (0..1000).map(|_| office.ask("a", Priority::Normal)).collect();
    assert_eq!(office.counts(), (1, 999));
    assert_eq!(refused(office.ask("a", Priority::Normal)).get("bound"), Some("queue"));
    for next in asking.drain(..) {
        drop(told(next).unwrap());
    }
    let stats = office.admission.stats();
    assert_eq!((stats.admitted, stats.waited, stats.refused), (1000, 999, 1));
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn more_urgent_work_takes_the_place_of_the_newest_of_the_least_urgent() {
    let office = Office::new(AdmissionConfig::new(1, 3));
    let held = told(office.ask("a", Priority::Normal)).unwrap();
    let normal = office.ask("a", Priority::Normal);
    let (old, new) = (office.ask("a", Priority::Low), office.ask("a", Priority::Low));
    let urgent = office.ask("b", Priority::High);
    let err = refused(new);
    assert_eq!((err.kind(), err.get("bound")), (ErrorKind::RateLimited, Some("urgency")));
    assert_eq!(refused(office.ask("b", Priority::Low)).get("bound"), Some("queue"), "it is no more urgent");
    assert_eq!((office.counts(), office.admission.stats().shed), ((1, 3), 1));
    drop(held);
    drop(told(urgent).unwrap());
    drop(told(normal).unwrap());
    drop(told(old).unwrap());
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn what_waits_too_long_is_told_so_and_a_cancelled_or_late_context_leaves() {
    let office = Office::new(AdmissionConfig::new(1, 9).with_wait(10 * SECOND));
    let held = told(office.ask("a", Priority::Normal)).unwrap();
    let patient = office.ask("a", Priority::Normal);
    let cancelled = office.context("a");
    let gone = office.ask_at(cancelled.clone(), Priority::Normal);
    let late = office.ask_at(office.context("a").with_timeout(SECOND), Priority::Normal);
    cancelled.cancel().cancel();
    assert_eq!(refused(gone).kind(), ErrorKind::Cancelled);
    office.clock.advance(SECOND);
    assert_eq!(refused(late).kind(), ErrorKind::Timeout);
    office.clock.advance(9 * SECOND);
    let err = refused(patient);
    assert_eq!(
        (err.kind(), err.get("bound"), err.get("limit")),
        (ErrorKind::RateLimited, Some("wait"), Some("10.0"))
    );
    let stats = office.admission.stats();
    assert_eq!((stats.expired, stats.left, stats.waiting), (1, 2, 0));
    drop(held);
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn work_inside_of_admitted_work_never_waits_for_its_own_run() {
    let office = Office::new(AdmissionConfig::new(1, 9));
    let run = office.context("a");
    let team = run.child("team");
    let outer = told(office.ask_at(team.clone(), Priority::Normal)).unwrap();
    let inner = told(office.ask_at(team.child("agent"), Priority::Normal)).unwrap();
    assert_eq!(office.counts(), (1, 0));
    // A name that begins alike is not inside, and neither is what stands above.
    let (beside, above) =
        (office.ask_at(run.child("team2"), Priority::Normal), office.ask_at(run, Priority::Normal));
    assert_eq!(office.counts(), (1, 2));
    drop((inner, beside, above, outer));
    assert!(office.admission.is_clear());
}

#[tokio::test]
async fn the_bus_is_told_who_waits_who_begins_and_who_is_refused() {
    let mut office = Office::new(AdmissionConfig::new(1, 1));
    let bus = Bus::local(BusConfig::default());
    office.admission = office.admission.with_bus(bus.clone());
    let held = told(office.ask("a", Priority::Normal)).unwrap();
    let waiting = office.ask("a", Priority::High);
    refused(office.ask("a", Priority::Low));
    office.clock.advance(SECOND);
    drop(held);
    drop(told(waiting).unwrap());
    let history = bus.history(&office.context("a"), &History::default());
    let said = |name: &str| -> Vec<String> {
        let of = |event: &Arc<crate::event::Event>| event.data[name].to_string();
        history.iter().map(of).collect()
    };
    assert_eq!(said("admission"), ["\"waiting\"", "\"refused\"", "\"admitted\""]);
    assert_eq!((&said("bound")[1], &said("waited_ms")[2]), (&"\"queue\"".to_owned(), &"1000".to_owned()));
}

#[tokio::test]
async fn bounds_that_admit_nothing_are_refused() {
    for (config, field) in [
        (AdmissionConfig::new(0, 1), "slots"),
        (AdmissionConfig::new(1, 1).with_tenant_slots(0), "tenant_slots"),
    ] {
        let err = Admission::new(config).unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, Some(field)));
    }
}

/// Ten thousand cancels at random points of random traffic: no bound is ever broken, no slot is idle while somebody
/// may begin, and nothing is left.
#[tokio::test]
async fn nothing_is_left_by_ten_thousand_cancels_at_random_points() {
    const TENANTS: [&str; 3] = ["a", "b", "c"];
    const URGENCY: [Priority; 4] = [Priority::Low, Priority::Normal, Priority::High, Priority::Critical];
    let (slots, queue, tenant_slots, tenant_queue) = (5, 12, 3, 8);
    let config = AdmissionConfig::new(slots, queue)
        .with_tenant_slots(tenant_slots)
        .with_tenant_queue(tenant_queue)
        .with_wait(50 * SECOND);
    let (office, mut random) = (Office::new(config), fastrand::Rng::with_seed(9));
    let (mut asking, mut held): (Vec<Asking>, Vec<Permit>) = (Vec::new(), Vec::new());
    let (mut cancels, mut admitted) = (0, 0_u64);
    while cancels < 10_000 {
        match random.u8(0..10) {
            0..=3 => {
                let (tenant, urgency) = (TENANTS[random.usize(..3)], URGENCY[random.usize(..4)]);
                asking.push(office.ask(tenant, urgency));
            }
            4..=5 if !asking.is_empty() => {
                // Dropped wherever it stands: waiting, given a slot that it does not know of, or told no.
                drop(asking.swap_remove(random.usize(..asking.len())));
                cancels += 1;
            }
            6 if !held.is_empty() => drop(held.swap_remove(random.usize(..held.len()))),
            7 => office.clock.advance(SECOND * random.u32(0..4)),
            _ => {
                let mut still = Vec::new();
                for mut it in asking.drain(..) {
                    match poll(&mut it) {
                        Poll::Ready(Ok(permit)) => {
                            admitted += 1;
                            held.push(permit);
                        }
                        Poll::Ready(Err(err)) => assert_eq!(err.kind(), ErrorKind::RateLimited),
                        Poll::Pending => still.push(it),
                    }
                }
                asking = still;
            }
        }
        let (running, waiting) = office.counts();
        assert!(running <= slots && waiting <= queue && held.len() <= running);
        let mut could = false;
        for tenant in TENANTS {
            let (has, waits) = office.admission.of_tenant(&TenantId::new(tenant).unwrap());
            assert!(has <= tenant_slots && waits <= tenant_queue);
            could |= waits > 0 && has < tenant_slots;
        }
        assert!(running == slots || !could, "a slot is free for somebody who waits");
    }
    assert!(admitted > 1000, "the traffic gets through: {admitted}");
    drop((asking, held));
    assert_eq!(office.counts(), (0, 0));
    assert!(office.admission.is_clear());
}
