//! Who is chosen for a task: teams by words or names, agents by fit or in turn.

use std::collections::BTreeMap;

use proptest::prelude::{any, prop_assert, proptest};
use raptorflow_core::{
    agent::{AgentInput, Match},
    error::{ErrorKind, Result},
    orchestrator::{Balance, Balancer, CapabilityRouter, Decision, Orchestrator, Router, Task},
    runtime::{Context, Runtime},
};
use serde_json::json;

use crate::teams::{Calls, TEAMS, report, supervisors, with};

async fn route(task: &Task) -> Result<Decision> {
    let ctx = Context::new(&Runtime::current().unwrap());
    CapabilityRouter.route(&ctx, task, &supervisors(&TEAMS, &Calls::default())).await
}

#[tokio::test]
async fn teams_are_chosen_by_words_or_by_name_and_all_when_no_word_fits() {
    let chosen = |decision: &Decision| -> Vec<String> {
        assert_eq!(decision.teams.len(), TEAMS.len());
        decision.teams.iter().filter(|it| it.chosen).map(|it| it.team.clone()).collect()
    };
    let decision = route(&Task::new("Which risks are there?")).await.unwrap();
    assert_eq!(chosen(&decision), ["risks"]);
    assert_eq!(
        (decision.teams[0].words.as_slice(), decision.teams[0].score > 0.0),
        (&["risk".to_owned()][..], true)
    );
    assert!(decision.teams[0].reason.contains("risk"));
    assert_eq!(chosen(&route(&Task::new("Sing a song")).await.unwrap()), ["plans", "risks", "prices"]);

    let mut task = Task::new("Which risks are there?");
    task.teams = vec!["prices".into(), "prices".into()];
    assert_eq!(chosen(&route(&task).await.unwrap()), ["prices"]);
    task.teams = vec!["price".into()];
    let err = route(&task).await.unwrap_err();
    assert_eq!((err.kind(), err.get("team")), (ErrorKind::NotFound, Some("price")));
    assert_eq!(err.get("known"), Some("plans, risks, prices"));
}

#[tokio::test]
async fn a_goal_is_shared_out_by_clauses_and_numbers_and_names_stay_whole() {
    let focus = |decision: &Decision, team: &str| {
        decision.teams.iter().find(|it| it.team == team).unwrap().focus.clone()
    };
    let decision = route(&Task::new("Plan the milestones, and name the risks.")).await.unwrap();
    assert_eq!(focus(&decision, "plans"), "Plan the milestones");
    assert_eq!(focus(&decision, "risks"), "name the risks");
    for goal in
        ["Plan version 1.5 of README.md for 1,000 people", "Plan it at 10:30 on https://example.com/a.b"]
    {
        assert_eq!(focus(&route(&Task::new(goal)).await.unwrap(), "plans"), goal);
    }
}

#[tokio::test]
async fn an_agent_gets_its_share_and_the_whole_goal_as_background() {
    let calls = Calls::default();
    let engine = with(Orchestrator::new("office", supervisors(&TEAMS, &calls)).unwrap()).await;
    report(&engine, "Plan the milestones, and name the risks.").await;
    let asked = calls.of("risks-lead");
    assert_eq!(asked[0].question(), "name the risks");
    assert_eq!(asked[0].background.as_deref(), Some("Plan the milestones, and name the risks."));
    report(&engine, "Which risks are there").await;
    assert_eq!(calls.of("risks-lead")[1], AgentInput::new("Which risks are there"));
}

#[tokio::test]
async fn a_task_takes_its_form_from_the_input_or_says_what_is_wrong() {
    let calls = Calls::default();
    let engine = with(Orchestrator::new("office", supervisors(&TEAMS, &calls)).unwrap()).await;
    let task = json!({ "goal": "x", "teams": ["plans", "risks"], "agents_per_team": 1 });
    let of_two = report(&engine, task).await;
    assert_eq!(of_two.sections.iter().map(|it| it.team.as_str()).collect::<Vec<_>>(), ["plans", "risks"]);
    assert_eq!(of_two.decision.agents.len(), 2);
    for (input, field) in [
        (json!(""), Some("goal")),
        (json!({ "goal": " " }), Some("goal")),
        (json!({ "goal": "x", "agents_per_team": 0 }), Some("agents_per_team")),
        (json!({ "goal": "x", "team": "y" }), None),
        (json!(7), None),
    ] {
        let err = engine.run("office", input).await.unwrap_err();
        assert_eq!((err.kind(), err.get("field")), (ErrorKind::InvalidInput, field));
    }
    let err = engine.run("office", json!({ "goal": "x", "teams": ["y"] })).await.unwrap_err();
    assert_eq!((err.kind(), err.get("known")), (ErrorKind::NotFound, Some("plans, risks, prices")));
}

#[tokio::test]
async fn round_robin_gives_each_agent_of_a_team_its_turn() {
    let calls = Calls::default();
    let engine = with(Orchestrator::new("office", supervisors(&TEAMS[..1], &calls)).unwrap()).await;
    for _ in 0..9 {
        report(&engine, json!({ "goal": "plan", "agents_per_team": 1, "balance": "round_robin" })).await;
    }
    assert_eq!(calls.counts(), [("plans-lead".to_owned(), 5), ("plans-member".to_owned(), 4)]);
}

fn matches(names: &[usize]) -> Vec<Match> {
    names.iter().map(|it| Match { name: format!("agent-{it}"), score: 1.0, words: vec![] }).collect()
}

proptest! {
    #[test]
    fn turns_over_one_pool_differ_by_at_most_one(pool in 1..9_usize, count in 1..9_usize, rounds in 1..60_usize) {
        let (balancer, ranked) = (Balancer::default(), matches(&(0..pool).collect::<Vec<_>>()));
        let mut turns = BTreeMap::<String, usize>::new();
        for it in &ranked {
            turns.insert(it.name.clone(), 0);
        }
        for _ in 0..rounds {
            let chosen = balancer.choose(Balance::RoundRobin, &ranked, count);
            prop_assert!(chosen.len() == count.min(pool));
            chosen.into_iter().for_each(|it| *turns.get_mut(&it.name).unwrap() += 1);
        }
        prop_assert!(turns.values().max().unwrap() - turns.values().min().unwrap() <= 1, "{turns:?}");
    }

    #[test]
    fn whoever_fits_waits_at_most_for_all_others(pools in proptest::collection::vec(any::<[bool; 5]>(), 1..80)) {
        let (balancer, mut waits) = (Balancer::default(), [0_usize; 5]);
        for pool in pools {
            let fitting: Vec<usize> = (0..5).filter(|it| pool[*it]).collect();
            let chosen = balancer.choose(Balance::RoundRobin, &matches(&fitting), 1);
            prop_assert!(chosen.len() == fitting.len().min(1));
            for it in fitting {
                waits[it] = if chosen[0].name == format!("agent-{it}") { 0 } else { waits[it] + 1 };
                prop_assert!(waits[it] < 5, "agent-{it} fitted {} times in vain", waits[it]);
            }
        }
    }

    #[test]
    fn best_fit_takes_the_best(scores in proptest::collection::vec(0..5_u8, 1..9), count in 1..9_usize) {
        let mut ranked = matches(&(0..scores.len()).collect::<Vec<_>>());
        let mut sorted: Vec<f64> = scores.iter().map(|it| f64::from(*it)).collect();
        sorted.sort_by(|a, b| b.total_cmp(a));
        ranked.iter_mut().zip(&sorted).for_each(|(it, score)| it.score = *score);
        let chosen = Balancer::default().choose(Balance::BestFit, &ranked, count);
        prop_assert!(chosen == ranked[..count.min(ranked.len())]);
        let turned = Balancer::default().choose(Balance::RoundRobin, &ranked, count);
        let unfit = turned.iter().filter(|it| it.score == 0.0).count();
        let fit = sorted.iter().filter(|it| **it > 0.0).count();
        prop_assert!(unfit == count.min(ranked.len()).saturating_sub(fit));
    }
}
