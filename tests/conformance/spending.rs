//! What a ledger in a SQLite file says after its process was killed: every call that was settled, and each of them once.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use libtest_mimic::Trial;
use raptorflow_core::{
    economics::{BudgetConfig, Budgets, Estimate, Scope},
    error::Result,
    runtime::{Context, Runtime},
    storage::Storage,
    types::{Currency, Money, Usage},
};

use crate::{
    backends::block_on,
    child::{Started, WRITERS},
};

const FILE: &str = "RAPTORFLOW_TEST_PAYER_FILE";
/// The first call that each task of the payer makes, separated by commas.
const FROM: &str = "RAPTORFLOW_TEST_PAYER_FROM";
/// How many calls each task makes in all.
const CALLS: u64 = 60;
/// What a call costs, in millionths.
const COST: i64 = 10;

pub(crate) fn trials() -> Vec<Trial> {
    vec![Trial::test("sqlite::kill_9_in_the_middle_of_calls_leaves_a_ledger_that_adds_up", || {
        kill_leaves_a_ledger_that_adds_up();
        Ok(())
    })]
}

/// What a process does that was started to make calls.
pub(crate) struct Payer {
    file: PathBuf,
    from: Vec<u64>,
}

impl Payer {
    /// What this process is to do, if it is such a one.
    pub(crate) fn of_this_process() -> Option<Self> {
        let from = env::var(FROM).ok()?;
        let from = from.split(',').map(str::parse).collect::<std::result::Result<_, _>>().ok()?;
        Some(Self { file: env::var_os(FILE)?.into(), from })
    }

    pub(crate) fn run(self) -> ExitCode {
        match block_on(self.pay()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(err) => {
                eprintln!("{err:#}");
                ExitCode::FAILURE
            }
        }
    }

    /// Makes calls, and prints `task number` twice for each: an even number when it is paid, the odd one behind it when
    /// that is recorded.
    async fn pay(self) -> Result<()> {
        let (runtime, budgets) = open(&self.file).await?;
        let tasks = self.from.into_iter().enumerate().map(|(task, from)| {
            let (runtime, budgets) = (runtime.clone(), budgets.clone());
            tokio::spawn(async move {
                for call in from..CALLS {
                    let ctx = Context::new(&runtime).with_idempotency_key(key(task, call));
                    let estimate = Estimate::new("shop:small", 50).with_money(usd(2 * COST));
                    let reservation = budgets.reserve(&ctx, estimate).await?.granted()?;
                    say(task, 2 * call);
                    reservation.settle(Some(Usage::new(20, 5)), Some(usd(COST))).await?;
                    say(task, 2 * call + 1);
                }
                Result::Ok(())
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap()?;
        }
        Ok(())
    }
}

fn say(task: usize, number: u64) {
    let mut out = std::io::stdout().lock();
    // The parent may be gone.
    let _ = writeln!(out, "{task} {number}").and_then(|()| out.flush());
}

fn usd(micros: i64) -> Money {
    Money::new(micros, Currency::USD)
}

fn key(task: usize, call: u64) -> String {
    format!("{task}/{call}")
}

async fn open(file: &Path) -> Result<(Runtime, Budgets)> {
    let runtime = Runtime::current()?;
    let storage = Storage::open(&format!("sqlite:{}", file.display())).await?;
    let budgets = Budgets::new(storage, runtime.clone(), BudgetConfig::unlimited(Currency::USD))?;
    Ok((runtime, budgets))
}

/// What a payer said until it ended.
#[derive(Default)]
struct Heard {
    /// How often each call was paid: again where a kill came before its record was known.
    paid: BTreeMap<(usize, u64), usize>,
    /// Which of them are known to be recorded.
    recorded: BTreeSet<(usize, u64)>,
}

impl Heard {
    fn note(&mut self, line: Option<(usize, u64)>) -> bool {
        let Some((task, number)) = line else { return false };
        if number % 2 == 0 {
            *self.paid.entry((task, number / 2)).or_default() += 1;
        } else {
            self.recorded.insert((task, number / 2));
        }
        true
    }

    /// The first call of each task that is not known to be recorded.
    fn next(&self) -> String {
        let next = |task| self.recorded.iter().filter(|(of, _)| *of == task).count().to_string();
        (0..WRITERS).map(next).collect::<Vec<_>>().join(",")
    }
}

fn kill_leaves_a_ledger_that_adds_up() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("store.db");
    let start = |heard: &Heard| {
        Started::running(Command::new(env::current_exe().unwrap()).env(FILE, &file).env(FROM, heard.next()))
    };
    let mut heard = Heard::default();
    for lines in [1, 8, 31, 60] {
        let mut payer = start(&heard);
        for _ in 0..lines {
            assert!(heard.note(payer.next()), "the payer ended by itself");
        }
        payer.kill();
        // What it said before the kill counts too.
        while heard.note(payer.next()) {}
    }
    let mut payer = start(&heard);
    while heard.note(payer.next()) {}
    assert!(payer.ended_well());

    block_on(async {
        let (runtime, budgets) = open(&file).await.unwrap();
        let ctx = Context::new(&runtime);
        let spendings = budgets.spendings(&ctx, None, None).await.unwrap();
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        spendings.iter().for_each(|spending| *times.entry(&spending.id).or_default() += 1);
        assert_eq!(heard.paid.len() as u64, WRITERS as u64 * CALLS, "each call was paid");
        for ((task, call), paid) in &heard.paid {
            let found = times.get(key(*task, *call).as_str()).copied().unwrap_or(0);
            assert!(found >= 1, "call {call} of task {task} is lost");
            assert!(
                found <= *paid,
                "call {call} of task {task} was paid {paid} times and recorded {found} times"
            );
        }
        let balance = budgets.balance(&ctx, &Scope::Tenant).await.unwrap();
        let sum: i64 = spendings.iter().map(|spending| spending.cost.unwrap().micros).sum();
        assert_eq!(balance.spent.total.money, usd(sum));
        assert_eq!(
            (balance.reserved.money, balance.reserved.tokens),
            (usd(0), 0),
            "each call was made to its end"
        );
    });
}
