//! Requests in plain words find the agent of the council that they are meant for, within its team.

use raptorflow_core::{
    agent::{Agent, AgentBuilder},
    orchestrator::{Balance, Supervisor},
    pack::Pack,
};
use raptorflow_tests::root;

/// One request for each agent of three teams, written without its routing words in sight.
const REQUESTS: [(&str, &str, &str); 30] = [
    (
        "architect",
        "initiative_architect",
        "What is the purpose of this initiative, and what would count as success?",
    ),
    (
        "architect",
        "blueprint_agent",
        "Which components does the service need, and what are the interfaces between them?",
    ),
    (
        "architect",
        "scope_analyst",
        "Which requirements were added since the contract, and who agreed to them?",
    ),
    ("architect", "timeline_planner", "Is the date in May feasible, given the notice period and the season?"),
    ("architect", "resource_allocator", "How should the budget be divided, and what does the upkeep cost?"),
    ("architect", "risk_assessor", "What could go wrong, and how likely is each threat?"),
    ("architect", "dependency_mapper", "What depends on the supplier, and is there a circular dependency?"),
    ("architect", "quality_auditor", "Audit the design: is every requirement covered and testable?"),
    ("architect", "impact_analyzer", "Who is affected by the change, and who gains or loses?"),
    ("architect", "roadmap_strategist", "What comes this quarter, and which themes are for later years?"),
    (
        "cognition",
        "learning_coordinator",
        "What went wrong in the incident, and what is the lesson for next time?",
    ),
    (
        "cognition",
        "knowledge_synthesizer",
        "What do the studies say, and where do the sources contradict each other?",
    ),
    (
        "cognition",
        "pattern_recognizer",
        "Is there a recurring pattern in these cases, and what do they have in common?",
    ),
    ("cognition", "insight_generator", "What is surprising in these figures, and what does it mean for us?"),
    ("cognition", "decision_advisor", "Should we choose the first option or the alternative?"),
    ("cognition", "mentor_coordinator", "Who could coach the new colleague as a mentor?"),
    ("cognition", "skill_assessor", "Which skills does the team have, and where is a gap in expertise?"),
    ("cognition", "knowledge_validator", "Which entries of the wiki are outdated or no longer correct?"),
    ("cognition", "conceptualizer", "What counts as a customer here? Give a definition of the term."),
    ("cognition", "teaching_agent", "Explain this to beginners, with an exercise for each step."),
    ("strategos", "plan_developer", "Break the work down into tasks and make a plan by phases."),
    ("strategos", "task_orchestrator", "Who takes over which task now, and how is the handover done?"),
    ("strategos", "resource_manager", "Is the equipment booked, and when do the supplies run out?"),
    ("strategos", "progress_monitor", "How far has the work progressed, and what stands still?"),
    ("strategos", "timeline_tracker", "Which deadlines slipped, and by how many days are we late?"),
    ("strategos", "milestone_validator", "Is the milestone done, and are we ready for the gate?"),
    ("strategos", "capacity_planner", "Is the team overloaded, or can it take on more work at the peak?"),
    ("strategos", "bottleneck_detector", "Where is the bottleneck that makes the orders pile up in a queue?"),
    ("strategos", "adjustment_agent", "The hall was cancelled: how do we adjust and get back on track?"),
    ("strategos", "forecast_analyst", "At this pace, when will it be finished, as a forecast with a range?"),
];

#[test]
fn a_request_in_plain_words_finds_its_agent_of_the_council() {
    let pack = Pack::load(root().join("packs/council")).unwrap();
    let agent = |spec: &raptorflow_core::agent::AgentSpec| -> Agent {
        AgentBuilder::from_spec(spec.clone()).build().unwrap()
    };
    let mut lost = Vec::new();
    for (team, lead) in pack.teams() {
        let members = pack.agents().iter().filter(|spec| spec.domain.as_deref() == Some(&team.name));
        let supervisor = Supervisor::new(team.clone(), agent(lead), members.map(agent).collect());
        for (_, wanted, request) in REQUESTS.iter().filter(|(of, ..)| *of == team.name) {
            let chosen = supervisor.delegate(request, 2, Balance::BestFit);
            if chosen[0].agent.as_str() != *wanted {
                let names: Vec<&str> = chosen.iter().map(|choice| choice.agent.as_str()).collect();
                lost.push(format!("{wanted}: {names:?} by {:?}", chosen[0].words));
            }
        }
    }
    assert_eq!(lost, Vec::<String>::new());
}
