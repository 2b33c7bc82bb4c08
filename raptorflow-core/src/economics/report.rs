//! `UsageReport`: what calls cost, by run, agent, user, model, day and month; a pure roll-up of the ledger.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    economics::{
        Spending,
        scope::{date, day_number, month_name},
    },
    types::{AgentId, Money, RunId, TenantId, Timestamp, Usage},
};

/// How many days before a day are its usual ones, and how many of them there must be.
const DAYS: (i32, i32) = (30, 3);
/// How many runs before a run are its usual ones, and how many of them there must be.
const RUNS: (usize, usize) = (100, 10);
/// How many times the mean is unusual.
const UNUSUAL: i128 = 3;
/// How long a month must have lasted before it is projected, in microseconds: an hour.
const ENOUGH: i64 = 60 * 60 * 1_000_000;
const DAY: i64 = 24 * 60 * 60 * 1_000_000;

/// Which calls are counted; what is `None` lets all through.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UsageFilter {
    /// Calls of one run.
    pub run: Option<RunId>,
    /// Calls of an agent and of the agents below it.
    pub agent: Option<AgentId>,
    /// Calls that one user asked for.
    pub user: Option<Arc<str>>,
    /// Calls of one model.
    pub model: Option<Arc<str>>,
    /// Calls from then on.
    pub from: Option<Timestamp>,
    /// Calls before then.
    pub before: Option<Timestamp>,
}

impl UsageFilter {
    /// Whether a call is let through.
    #[must_use]
    pub fn matches(&self, spending: &Spending) -> bool {
        let payer = &spending.payer;
        self.run.is_none_or(|run| payer.run == run)
            && self.agent.as_ref().is_none_or(|agent| payer.agents.contains(agent))
            && self.user.as_ref().is_none_or(|user| payer.user.as_ref() == Some(user))
            && self.model.as_ref().is_none_or(|model| spending.model == *model)
            && self.from.is_none_or(|from| spending.at >= from)
            && self.before.is_none_or(|before| spending.at < before)
    }
}

/// Calls, and what they came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageSum {
    /// How many calls.
    pub calls: u64,
    /// Their tokens.
    pub usage: Usage,
    /// What they cost, as far as it is known; `None` when no price is.
    pub cost: Option<Money>,
    /// How many calls have no known price and are missing in `cost`.
    pub unpriced: u64,
    /// How many calls count as they were expected, because what they took is not known.
    pub estimated: u64,
}

impl UsageSum {
    fn add(&mut self, spending: &Spending) {
        self.calls += 1;
        self.usage = self.usage.plus(spending.usage);
        self.estimated += u64::from(spending.estimated);
        // A ledger has one currency, so that amounts add.
        let sum = match (self.cost, spending.cost) {
            (sum, None) => {
                self.unpriced += 1;
                sum
            }
            (None, cost) => cost,
            (Some(sum), Some(cost)) => Some(Money::new(sum.micros.saturating_add(cost.micros), sum.currency)),
        };
        self.cost = sum;
    }

    fn micros(&self) -> i128 {
        self.cost.map_or(0, |cost| cost.micros.into())
    }
}

/// Something that cost more than three times as much as usual.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "of", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Anomaly {
    /// A day, against the mean of the 30 days before it, as far as there were calls by then, and at least 3.
    Day {
        /// The day, as `yyyy-mm-dd`.
        day: String,
        /// What it cost.
        cost: Money,
        /// What a day before it cost.
        mean: Money,
    },
    /// A run, against the mean of the 100 runs that began before it, and at least 10.
    Run {
        /// The run.
        run: RunId,
        /// What it cost.
        cost: Money,
        /// What a run before it cost.
        mean: Money,
    },
}

/// What calls cost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UsageReport {
    /// Whose.
    pub tenant: TenantId,
    /// All of it.
    pub total: UsageSum,
    /// By the id of the run.
    pub runs: BTreeMap<String, UsageSum>,
    /// By the agent that made the call.
    pub agents: BTreeMap<String, UsageSum>,
    /// By who asked.
    pub users: BTreeMap<String, UsageSum>,
    /// By model.
    pub models: BTreeMap<String, UsageSum>,
    /// By day in UTC, as `yyyy-mm-dd`.
    pub days: BTreeMap<String, UsageSum>,
    /// By month in UTC, as `yyyy-mm`.
    pub months: BTreeMap<String, UsageSum>,
    /// What the month of the report comes to if it goes on like this; `None` in its first hour, and without costs.
    pub projected_month: Option<Money>,
    /// What cost more than three times as much as usual, days first.
    pub anomalies: Vec<Anomaly>,
}

impl UsageReport {
    /// Adds up the calls that a filter lets through; `now` decides which month is projected.
    ///
    /// ```
    /// use raptorflow_core::economics::{UsageFilter, UsageReport};
    /// use raptorflow_core::types::{TenantId, Timestamp};
    /// let report = UsageReport::of(TenantId::default(), &[], &UsageFilter::default(), Timestamp::default());
    /// assert_eq!((report.total.calls, report.projected_month), (0, None));
    /// ```
    #[must_use]
    pub fn of(tenant: TenantId, spendings: &[Spending], filter: &UsageFilter, now: Timestamp) -> Self {
        let mut report = Self {
            tenant,
            total: UsageSum::default(),
            runs: BTreeMap::new(),
            agents: BTreeMap::new(),
            users: BTreeMap::new(),
            models: BTreeMap::new(),
            days: BTreeMap::new(),
            months: BTreeMap::new(),
            projected_month: None,
            anomalies: Vec::new(),
        };
        let (mut days, mut runs) = (BTreeMap::<i32, UsageSum>::new(), Runs::default());
        for spending in spendings.iter().filter(|spending| filter.matches(spending)) {
            let payer = &spending.payer;
            report.total.add(spending);
            report.runs.entry(payer.run.to_string()).or_default().add(spending);
            report.models.entry(spending.model.to_string()).or_default().add(spending);
            report.months.entry(month_name(spending.at)).or_default().add(spending);
            if let Some(agent) = payer.agents.last() {
                report.agents.entry(agent.to_string()).or_default().add(spending);
            }
            if let Some(user) = &payer.user {
                report.users.entry(user.to_string()).or_default().add(spending);
            }
            days.entry(day_number(spending.at)).or_default().add(spending);
            runs.add(spending);
        }
        report.projected_month =
            report.months.get(&month_name(now)).and_then(|sum| projected(sum.cost?, now));
        report.anomalies = unusual_days(&days);
        report.anomalies.extend(runs.unusual());
        report.days = days.into_iter().map(|(day, sum)| (day_name(day), sum)).collect();
        report
    }
}

/// Runs in the order in which they began to spend.
#[derive(Default)]
struct Runs {
    order: Vec<(RunId, UsageSum)>,
    places: HashMap<RunId, usize>,
}

impl Runs {
    fn add(&mut self, spending: &Spending) {
        let run = spending.payer.run;
        let place = *self.places.entry(run).or_insert_with(|| {
            self.order.push((run, UsageSum::default()));
            self.order.len() - 1
        });
        if let Some((_, sum)) = self.order.get_mut(place) {
            sum.add(spending);
        }
    }

    fn unusual(&self) -> Vec<Anomaly> {
        let (window, least) = RUNS;
        let mut before = 0_i128;
        let mut found = Vec::new();
        for (place, (run, sum)) in self.order.iter().enumerate() {
            let count = place.min(window);
            if let Some((cost, mean)) = unusual(sum, before, count as i128, least as i128) {
                found.push(Anomaly::Run { run: *run, cost, mean });
            }
            before += sum.micros();
            if let Some((_, oldest)) = place.checked_sub(window).and_then(|oldest| self.order.get(oldest)) {
                before -= oldest.micros();
            }
        }
        found
    }
}

fn unusual_days(days: &BTreeMap<i32, UsageSum>) -> Vec<Anomaly> {
    let (window, least) = DAYS;
    let Some(first) = days.keys().next().copied() else { return Vec::new() };
    let unusual_day = |(day, sum): (&i32, &UsageSum)| {
        let from = day.saturating_sub(window).max(first);
        // Days without calls cost nothing, and count.
        let before: i128 = days.range(from..*day).map(|(_, sum)| sum.micros()).sum();
        let (cost, mean) = unusual(sum, before, i128::from(day - from), i128::from(least))?;
        Some(Anomaly::Day { day: day_name(*day), cost, mean })
    };
    days.iter().filter_map(unusual_day).collect()
}

/// The cost and the mean of those before, when the cost is more than three times the mean.
fn unusual(sum: &UsageSum, before: i128, count: i128, least: i128) -> Option<(Money, Money)> {
    let cost = sum.cost?;
    let unusual = count >= least && i128::from(cost.micros) * count > UNUSUAL * before;
    let mean = before.checked_div(count)?;
    unusual.then(|| (cost, Money::new(i64::try_from(mean).unwrap_or(i64::MAX), cost.currency)))
}

/// What a month comes to when the rest of it costs as much an hour as it did so far.
fn projected(so_far: Money, now: Timestamp) -> Option<Money> {
    let (year, month, _) = date(now);
    let days = i64::from(
        jiff::civil::Date::new(year.try_into().ok()?, month.try_into().ok()?, 1).ok()?.days_in_month(),
    );
    let (_, _, day) = date(now);
    let elapsed = i64::from(day - 1) * DAY + now.as_micros().rem_euclid(DAY);
    if elapsed < ENOUGH {
        return None;
    }
    let sum = i128::from(so_far.micros) * i128::from(days * DAY) / i128::from(elapsed);
    Some(Money::new(i64::try_from(sum).unwrap_or(i64::MAX), so_far.currency))
}

fn day_name(day: i32) -> String {
    let (year, month, day) = date(Timestamp::from_micros(i64::from(day).saturating_mul(DAY)));
    format!("{year:04}-{month:02}-{day:02}")
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{economics::Payer, types::Currency};

    fn usd(micros: i64) -> Money {
        Money::new(micros, Currency::USD)
    }

    fn run(number: u128) -> RunId {
        RunId::from_uuid(Uuid::from_u128(number))
    }

    fn spending(at: &str, number: u128, agents: &[&str], cost: Option<i64>) -> Spending {
        Spending {
            at: at.parse().unwrap(),
            id: "id".into(),
            payer: Payer {
                user: Some("anna".into()),
                run: run(number),
                agents: agents.iter().map(|name| AgentId::new(*name).unwrap()).collect(),
            },
            model: "shop:small".into(),
            usage: Usage::new(10, 5),
            cost: cost.map(usd),
            estimated: cost == Some(7),
        }
    }

    fn report(spendings: &[Spending], filter: &UsageFilter, now: &str) -> UsageReport {
        UsageReport::of(TenantId::default(), spendings, filter, now.parse().unwrap())
    }

    #[test]
    fn every_call_is_in_each_roll_up_once_and_filters_let_through_what_they_name() {
        let spendings = [
            spending("2026-01-31T23:59:59Z", 1, &["lead", "helper"], Some(100)),
            spending("2026-02-01T00:00:00Z", 1, &["lead"], Some(7)),
            spending("2026-02-01T12:00:00Z", 2, &[], None),
        ];
        let all = report(&spendings, &UsageFilter::default(), "2026-02-11T00:00:00Z");
        let sums = |sums: &BTreeMap<String, UsageSum>| -> Vec<(String, u64, Option<i64>)> {
            let row = |(name, sum): (&String, &UsageSum)| {
                (name.clone(), sum.calls, sum.cost.map(|cost| cost.micros))
            };
            sums.iter().map(row).collect()
        };
        let row = |name: &str, calls, cost| (name.to_owned(), calls, cost);
        assert_eq!(
            (all.total.calls, all.total.cost, all.total.unpriced, all.total.estimated),
            (3, Some(usd(107)), 1, 1)
        );
        assert_eq!(all.total.usage, Usage::new(30, 15));
        assert_eq!(
            sums(&all.runs),
            [row(&run(1).to_string(), 2, Some(107)), row(&run(2).to_string(), 1, None)]
        );
        assert_eq!(sums(&all.agents), [row("helper", 1, Some(100)), row("lead", 1, Some(7))]);
        assert_eq!(sums(&all.days), [row("2026-01-31", 1, Some(100)), row("2026-02-01", 2, Some(7))]);
        assert_eq!(sums(&all.months), [row("2026-01", 1, Some(100)), row("2026-02", 2, Some(7))]);
        assert_eq!(
            (sums(&all.users), sums(&all.models)),
            (vec![row("anna", 3, Some(107))], vec![row("shop:small", 3, Some(107))])
        );
        // 7 in 10 of 28 days.
        assert_eq!(all.projected_month, Some(usd(19)));
        let back: UsageReport = serde_json::from_str(&serde_json::to_string(&all).unwrap()).unwrap();
        assert_eq!(back, all);
        let of = |filter: UsageFilter| report(&spendings, &filter, "2026-02-01T00:00:00Z").total.calls;
        let none = UsageFilter::default;
        assert_eq!(of(UsageFilter { agent: Some(AgentId::new("lead").unwrap()), ..none() }), 2);
        assert_eq!(of(UsageFilter { run: Some(run(2)), ..none() }), 1);
        assert_eq!(of(UsageFilter { user: Some("bert".into()), ..none() }), 0);
        assert_eq!(of(UsageFilter { model: Some("shop:large".into()), ..none() }), 0);
        let from: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        assert_eq!(of(UsageFilter { from: Some(from), ..none() }), 2);
        assert_eq!(of(UsageFilter { before: Some(from), ..none() }), 1);
    }

    #[test]
    fn a_month_is_not_projected_from_its_first_hour() {
        let spendings = [spending("2026-02-01T00:00:00Z", 1, &[], Some(100))];
        let at = |now| report(&spendings, &UsageFilter::default(), now).projected_month;
        assert_eq!((at("2026-02-01T00:59:59Z"), at("2026-03-05T00:00:00Z")), (None, None));
        assert_eq!(at("2026-02-15T00:00:00Z"), Some(usd(200)));
    }

    #[test]
    fn a_day_that_costs_more_than_three_times_the_mean_before_it_is_unusual() {
        let day = |day: u32, cost| {
            spending(&format!("2026-01-{day:02}T10:00:00Z"), u128::from(day), &[], Some(cost))
        };
        let anomalies = |spendings: &[Spending]| {
            report(spendings, &UsageFilter::default(), "2026-01-31T00:00:00Z").anomalies
        };
        let usual = [day(1, 10), day(2, 10), day(3, 10)];
        assert_eq!(anomalies(&[&usual[..], &[day(4, 30)]].concat()), []);
        let Some(Anomaly::Day { day: name, cost, mean }) =
            anomalies(&[&usual[..], &[day(4, 31)]].concat()).pop()
        else {
            panic!("nothing was found");
        };
        assert_eq!((name.as_str(), cost, mean), ("2026-01-04", usd(31), usd(10)));
        // Six days without calls make the mean 5 of 6 days: 30 / 6.
        assert_eq!(anomalies(&[&usual[..], &[day(7, 16)]].concat()).len(), 1);
        assert_eq!(anomalies(&[day(1, 1), day(2, 1), day(3, 900)]), [], "two days are not enough");
    }

    #[test]
    fn a_run_is_compared_with_the_hundred_before_it() {
        let at = "2026-01-01T00:00:00Z";
        let mut spendings: Vec<Spending> =
            (0..150).map(|number| spending(at, number, &[], Some(10))).collect();
        if let Some(first) = spendings.first_mut() {
            first.cost = Some(usd(1_000_000));
        }
        spendings.push(spending(at, 900, &[], Some(15)));
        spendings.push(spending(at, 900, &[], Some(16)));
        let found = report(&spendings, &UsageFilter::default(), at).anomalies;
        assert_eq!(found, [Anomaly::Run { run: run(900), cost: usd(31), mean: usd(10) }]);
    }
}
