//! Budgets against plain lists of what is open and what was spent.

use std::time::Duration;

use proptest::{
    collection::vec,
    prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof, proptest},
    test_runner::{Config, TestCaseError},
};

use super::support::{Machine, call, usd};
use crate::{
    economics::{BudgetConfig, Budgets, Cap, Caps, Decision, Reservation, Scope, Window},
    runtime::Context,
    types::{AgentId, Currency, RunId, Timestamp, Usage},
};

#[derive(Clone, Debug)]
enum Step {
    Reserve { handle: usize, id: usize, who: usize, micros: i64, tokens: u64 },
    Settle { number: usize, micros: i64, tokens: u64 },
    Release { number: usize },
    Wait { minutes: u64 },
    Back { minutes: i64 },
    SetCap { handle: usize, who: usize, window: usize, micros: i64 },
    Reopen { handle: usize },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2usize, 0..6usize, 0..4usize, 0..60i64, 0..40u64)
            .prop_map(|(handle, id, who, micros, tokens)| Step::Reserve { handle, id, who, micros, tokens }),
        6 => (any::<usize>(), 0..70i64, 0..50u64)
            .prop_map(|(number, micros, tokens)| Step::Settle { number, micros, tokens }),
        2 => any::<usize>().prop_map(|number| Step::Release { number }),
        2 => prop_oneof![0..20u64, Just(24 * 60), Just(17 * 24 * 60)].prop_map(|minutes| Step::Wait { minutes }),
        1 => (0..120i64).prop_map(|minutes| Step::Back { minutes }),
        1 => (0..2usize, 0..4usize, 0..3usize, 0..300i64)
            .prop_map(|(handle, who, window, micros)| Step::SetCap { handle, who, window, micros }),
        1 => (0..2usize).prop_map(|handle| Step::Reopen { handle }),
    ]
}

/// What the ledger should say, the slow way.
#[derive(Default)]
struct Plain {
    open: Vec<(usize, String, Vec<Scope>, i64, u64, Timestamp)>,
    spent: Vec<(Vec<Scope>, i64, u64, Timestamp)>,
    caps: Vec<(Scope, Window, i64)>,
}

impl Plain {
    fn spent(&self, scope: &Scope, window: Window, at: Timestamp) -> (i64, u64) {
        let here = self.spent.iter().filter(|(scopes, _, _, when)| {
            scopes.contains(scope) && window.period(*when) == window.period(at)
        });
        here.fold((0, 0), |sum, (_, micros, tokens, _)| (sum.0 + micros, sum.1 + tokens))
    }

    fn held(&self, scope: &Scope, but: &str, at: Timestamp) -> (i64, u64) {
        let here = self
            .open
            .iter()
            .filter(|(_, id, scopes, .., expires)| scopes.contains(scope) && id != but && *expires > at);
        here.fold((0, 0), |sum, (_, _, _, micros, tokens, _)| (sum.0 + micros, sum.1 + tokens))
    }

    fn cap(&self, config: &BudgetConfig, scope: &Scope, window: Window) -> Cap {
        let set = self.caps.iter().rev().find(|(of, over, _)| of == scope && *over == window);
        set.map_or_else(|| config.cap(scope, window), |(_, _, micros)| Cap::money(usd(*micros)))
    }

    fn fits(
        &self,
        config: &BudgetConfig,
        scopes: &[Scope],
        id: &str,
        micros: i64,
        tokens: u64,
        at: Timestamp,
    ) -> bool {
        scopes.iter().all(|scope| {
            Window::ALL.into_iter().all(|window| {
                let (cap, spent, held) = (
                    self.cap(config, scope, window),
                    self.spent(scope, window, at),
                    self.held(scope, id, at),
                );
                cap.money.is_none_or(|cap| spent.0 + held.0 + micros <= cap.micros)
                    && cap.tokens.is_none_or(|cap| spent.1 + held.1 + tokens <= cap)
            })
        })
    }
}

fn config() -> BudgetConfig {
    BudgetConfig {
        tenant: Caps { total: Cap::NONE, day: Cap::money(usd(250)), month: Cap::money(usd(600)) },
        user: Caps { day: Cap::tokens(150), ..Caps::default() },
        run: Caps::total(Cap::money(usd(200))),
        agent: Caps::total(Cap::money(usd(120)).and_tokens(100)),
        ..BudgetConfig::unlimited(Currency::USD)
    }
}

/// The same four callers each time: two users, two runs, with and without agents.
fn callers(machine: &Machine, runs: [RunId; 2]) -> [Context; 4] {
    let agent = |name| AgentId::new(name).unwrap();
    let (lead, helper) = (agent("lead"), agent("helper"));
    let run = |index: usize| Context::for_run(&machine.runtime, runs[index]);
    [
        run(0).with_principal("anna"),
        run(0).with_principal("anna").with_agent(&lead),
        run(0).with_principal("anna").with_agent(&lead).with_agent(&helper),
        run(1).with_principal("bert").with_agent(&lead),
    ]
}

async fn play(steps: Vec<Step>) -> Result<(), TestCaseError> {
    let machine = Machine::new();
    machine.clock.jump_to("2026-01-20T22:30:00Z".parse().unwrap());
    let config = config();
    let mut handles = [machine.open(config.clone()), machine.open(config.clone())];
    let ids = machine.runtime.ids();
    let callers = callers(&machine, [ids.run(), ids.run()]);
    let (mut plain, mut waited) = (Plain::default(), 0);
    let mut made: Vec<(Reservation, bool, Vec<Scope>)> = Vec::new();
    for step in steps {
        match step {
            Step::Reserve { handle, id, who, micros, tokens } => {
                let id = format!("id/{id}");
                let ctx = callers[who].with_idempotency_key(id.as_str());
                let scopes: Vec<Scope> = crate::economics::Payer::of(&ctx).scopes().collect();
                // Each process has its own view of the ledger's clock until somebody writes.
                let at = handles[handle].balance(&ctx, &Scope::Tenant).await.unwrap().at;
                let fits = plain.fits(&config, &scopes, &id, micros, tokens, at);
                match handles[handle].reserve(&ctx, call(micros, tokens)).await {
                    Ok(Decision::Reserved(reservation)) => {
                        prop_assert_eq!(fits, true);
                        plain.open.retain(|(_, other, ..)| *other != id);
                        plain.open.push((
                            made.len(),
                            id,
                            scopes.clone(),
                            micros,
                            tokens,
                            reservation.expires(),
                        ));
                        made.push((reservation, false, scopes));
                    }
                    Ok(Decision::NeedsApproval(_)) => prop_assert_eq!("approval", "none"),
                    Err(err) => prop_assert_eq!(fits, false, "{}", err),
                }
            }
            Step::Settle { number, micros, tokens } if !made.is_empty() => {
                let number = number % made.len();
                let (reservation, ended, scopes) = &mut made[number];
                reservation.settle(Some(Usage::new(tokens, 0)), Some(usd(micros))).await.unwrap();
                if !std::mem::replace(ended, true) {
                    let at = handles[0].spendings(&callers[0], None, None).await.unwrap().last().unwrap().at;
                    plain.spent.push((scopes.clone(), micros, tokens, at));
                    plain.open.retain(|(of, ..)| *of != number);
                }
            }
            Step::Release { number } if !made.is_empty() => {
                let number = number % made.len();
                made[number].0.release().await.unwrap();
                made[number].1 = true;
                plain.open.retain(|(of, ..)| *of != number);
            }
            // A run that is silent for longer may be forgotten.
            Step::Wait { minutes } if waited + minutes < 31 * 24 * 60 => {
                waited += minutes;
                machine.clock.advance(Duration::from_secs(minutes * 60));
            }
            Step::Back { minutes } => {
                use crate::runtime::Clock as _;
                let now = machine.clock.now().as_micros() - minutes * 60_000_000;
                machine.clock.jump_to(Timestamp::from_micros(now));
            }
            Step::SetCap { handle, who, window, micros } => {
                let scope = crate::economics::Payer::of(&callers[who]).scopes().last().unwrap();
                let window = Window::ALL[window];
                handles[handle]
                    .set_cap(&callers[who], scope.clone(), window, Cap::money(usd(micros)))
                    .await
                    .unwrap();
                plain.caps.push((scope, window, micros));
            }
            Step::Reopen { handle } => handles[handle] = machine.open(config.clone()),
            Step::Settle { .. } | Step::Release { .. } | Step::Wait { .. } => {}
        }
        check(&handles, &callers, &plain).await?;
    }
    Ok(())
}

/// Every scope stands as the lists say, by both handles.
async fn check(handles: &[Budgets], callers: &[Context], plain: &Plain) -> Result<(), TestCaseError> {
    for budgets in handles {
        for ctx in callers {
            for scope in crate::economics::Payer::of(ctx).scopes() {
                let balance = budgets.balance(ctx, &scope).await.unwrap();
                let (held, tokens) = plain.held(&scope, "", balance.at);
                let reserved = balance.reserved;
                prop_assert_eq!((reserved.money.micros, reserved.tokens), (held, tokens), "{}", &scope);
                let spent = balance.spent;
                for (window, sum) in Window::ALL.into_iter().zip([spent.total, spent.day, spent.month]) {
                    let expected = plain.spent(&scope, window, balance.at);
                    let found = (sum.money.micros, sum.tokens);
                    prop_assert_eq!(found, expected, "{} {}", &scope, window);
                }
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(Config { cases: 48, ..Config::default() })]
    #[test]
    fn budgets_are_what_plain_lists_say(steps in vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(play(steps))?;
    }
}
