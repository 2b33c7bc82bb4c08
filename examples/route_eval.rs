//! How often requests reach the right one of the council's agents without a language model: top 1 and top 3.

use std::{collections::BTreeMap, path::Path};

use raptorflow_core::{
    Error, ErrorKind, Result,
    agent::{Agent, AgentBuilder},
    orchestrator::{SemanticRouter, Supervisor},
    pack::Pack,
    rag::HashingEmbedder,
    runtime::{Context, Runtime},
};
use serde::Deserialize;

/// A request and whom it is for.
#[derive(Debug, Deserialize)]
struct Case {
    request: String,
    agent: String,
    #[serde(default)]
    also: Vec<String>,
    #[serde(default)]
    hard: bool,
}

/// How many requests, and how many of them reached the right agent first, or among the first three.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    all: u32,
    first: u32,
    three: u32,
}

impl Tally {
    fn count(&mut self, place: Option<usize>) {
        self.all += 1;
        self.first += u32::from(place == Some(0));
        self.three += u32::from(place.is_some_and(|place| place < 3));
    }

    fn line(self, name: &str) -> String {
        let share = |part: u32| 100.0 * f64::from(part) / f64::from(self.all.max(1));
        format!("{name:<12} {:>8} {:>7.1} % {:>7.1} %", self.all, share(self.first), share(self.three))
    }
}

/// A team a domain, with the pack's agents and without its supervisors.
fn teams(pack: &Pack) -> Result<Vec<Supervisor>> {
    let mut teams = Vec::new();
    for (team, _) in pack.teams() {
        let of_team = pack.agents().iter().filter(|spec| spec.domain.as_deref() == Some(team.name.as_str()));
        let mut agents: Vec<Agent> =
            of_team.map(|spec| AgentBuilder::from_spec(spec.clone()).build()).collect::<Result<_>>()?;
        let members = agents.split_off(agents.len().min(1));
        teams.extend(agents.pop().map(|lead| Supervisor::new(team.clone(), lead, members)));
    }
    Ok(teams)
}

fn cases(file: &str) -> Result<Vec<Case>> {
    let text = std::fs::read_to_string(file).map_err(|err| {
        Error::new(ErrorKind::NotFound, "route_eval.read", "cannot read the requests")
            .with("file", file)
            .caused_by(err)
    })?;
    let case = |(number, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|err| {
            Error::new(ErrorKind::InvalidInput, "route_eval.read", "not a labelled request")
                .with("file", file)
                .with("line", number + 1)
                .caused_by(err)
        })
    };
    text.lines().enumerate().map(case).collect()
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or_else(|| Path::new("."));
    let pack = root.join("packs/council");
    let dev = pack.join("evals/routing_dev.jsonl").display().to_string();
    let file = std::env::args().nth(1).unwrap_or(dev);
    let teams = teams(&Pack::load(&pack)?)?;
    let router = SemanticRouter::new(HashingEmbedder::default());
    let ctx = Context::new(&Runtime::current()?);

    let (mut all, mut hard, mut plain) = (Tally::default(), Tally::default(), Tally::default());
    let mut domains: BTreeMap<String, Tally> = BTreeMap::new();
    // By how sure the router is: below 0.1, 0.25 and 0.5, and above.
    let mut sure = [Tally::default(); 4];
    for case in cases(&file)? {
        let ranked = router.rank(&ctx, &case.request, &teams).await?;
        let fits = |name: &String| *name == case.agent || case.also.contains(name);
        let place = ranked.iter().position(|it| fits(&format!("{}.{}", it.team, it.agent)));
        let domain = case.agent.split('.').next().unwrap_or_default();
        for tally in [&mut all, if case.hard { &mut hard } else { &mut plain }] {
            tally.count(place);
        }
        domains.entry(domain.to_owned()).or_default().count(place);
        let (best, next) =
            (ranked.first().map_or(0.0, |it| it.score), ranked.get(1).map_or(0.0, |it| it.score));
        let lead = if best > 0.0 { (best - next) / best } else { 0.0 };
        let class = [0.1, 0.25, 0.5].iter().filter(|bound| lead >= **bound).count();
        if let Some(tally) = sure.get_mut(class) {
            tally.count(place);
        }
    }
    println!("{:<12} {:>8} {:>9} {:>9}", "requests", "number", "top 1", "top 3");
    for (name, tally) in &domains {
        println!("{}", tally.line(name));
    }
    for (name, tally) in [("plain", plain), ("hard", hard), ("all", all)] {
        println!("{}", tally.line(name));
    }
    for (name, tally) in ["sure < 0.1", "sure < 0.25", "sure < 0.5", "sure ≥ 0.5"].into_iter().zip(sure) {
        println!("{}", tally.line(name));
    }
    Ok(())
}
