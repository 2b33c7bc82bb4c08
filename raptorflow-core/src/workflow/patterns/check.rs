//! What makes a pattern unusable, all of it at once, and how many turns one takes at most.

use std::collections::HashSet;

use crate::{
    types::{AgentId, Diagnostic},
    workflow::{Aggregation, Consensus, Member, PatternKind, PatternSpec, Role, opinion::check_weight},
};

/// The most rounds, and the most turns of a round.
const MAX_ROUNDS: u32 = 100;
/// The most members.
const MAX_MEMBERS: usize = 1_000;
/// How deep patterns may lie in each other.
const MAX_DEPTH: usize = 8;

/// Every problem of a pattern, with its place.
pub(super) fn problems(spec: &PatternSpec) -> Vec<Diagnostic> {
    let mut found = Found { problems: Vec::new(), at: String::new() };
    found.pattern(spec, 1);
    found.problems
}

struct Found {
    problems: Vec<Diagnostic>,
    /// The pointer of the pattern that is looked at.
    at: String,
}

impl Found {
    fn add(&mut self, place: &str, code: &str, message: impl Into<String>) {
        let pointer = format!("{}{place}", self.at);
        self.problems.push(Diagnostic::error(code, message).at_pointer(pointer));
    }

    fn pattern(&mut self, spec: &PatternSpec, depth: usize) {
        if !spec.name.is_empty()
            && let Err(err) = AgentId::new(spec.name.as_str())
        {
            self.add("/name", "bad_name", err.message());
        }
        if spec.parallel == 0 {
            self.add("/parallel", "out_of_range", "expected at least 1");
        }
        if spec.timeout.is_some_and(|timeout| timeout.is_zero()) {
            self.add("/timeout", "out_of_range", "expected more than 0 seconds");
        }
        if spec.retries.is_some_and(|retries| retries > MAX_ROUNDS) {
            self.add("/retries", "out_of_range", format!("expected at most {MAX_ROUNDS}"));
        }
        if spec.tokens == Some(0) {
            self.add("/tokens", "out_of_range", "expected at least 1");
        }
        let own = self.at.len();
        self.at.push_str("/pattern/");
        self.at.push_str(spec.pattern.name());
        self.kind(&spec.pattern);
        self.voices(&spec.pattern, depth);
        self.at.truncate(own);
    }

    fn kind(&mut self, kind: &PatternKind) {
        match kind {
            PatternKind::Sequential(it) => self.some(&it.members, "members"),
            PatternKind::Parallel(it) => {
                self.some(&it.members, "members");
                self.share(it.threshold, "/threshold");
                self.aggregation(&it.aggregate);
            }
            PatternKind::Debate(it) => {
                let moderators =
                    it.members.iter().filter(|member| member.role == Some(Role::Moderator)).count();
                if it.members.len().saturating_sub(moderators) < 2 {
                    self.add("/members", "too_few", "a debate needs at least two sides besides a moderator");
                }
                if moderators > 1 {
                    self.add("/members", "too_many", "a debate has at most one moderator");
                }
                if it.consensus == Some(Consensus::Moderator) && moderators == 0 && it.judge.is_none() {
                    self.add(
                        "/consensus",
                        "missing",
                        "`moderator` needs a `judge` or a member with that role",
                    );
                }
                self.share(it.confidence, "/confidence");
                self.rounds(it.rounds, "/rounds");
                self.rounds(it.turns, "/turns");
            }
            PatternKind::Verification(it) => {
                self.some(&it.verifiers, "verifiers");
                self.share(it.threshold, "/threshold");
                self.rounds(it.iterations, "/iterations");
            }
            PatternKind::ExpertPanel(it) => {
                let role = |role: Role| it.members.iter().filter(|member| member.role == Some(role)).count();
                if it.members.len() == role(Role::Reviewer) {
                    self.add("/members", "too_few", "a panel needs at least one expert who is no reviewer");
                }
                if role(Role::Primary) > 1 {
                    self.add("/members", "too_many", "a panel has at most one primary expert");
                }
                self.share(it.threshold, "/threshold");
            }
            PatternKind::MapReduce(it) => {
                self.some(&it.mappers, "mappers");
                self.share(it.threshold, "/threshold");
                if it.at_once.is_some_and(|lot| lot < 2) {
                    self.add("/at_once", "out_of_range", "expected at least 2, or it never ends");
                }
            }
            PatternKind::Reflection(it) => {
                self.share(it.threshold, "/threshold");
                self.rounds(it.rounds, "/rounds");
            }
        }
    }

    fn some(&mut self, members: &[Member], field: &str) {
        if members.is_empty() {
            self.add(&format!("/{field}"), "too_few", "expected at least one");
        }
    }

    fn share(&mut self, value: f64, place: &str) {
        if !(0.0..=1.0).contains(&value) {
            self.add(place, "out_of_range", format!("expected a number from 0 to 1, got {value}"));
        }
    }

    fn rounds(&mut self, value: u32, place: &str) {
        if !(1..=MAX_ROUNDS).contains(&value) {
            self.add(place, "out_of_range", format!("expected from 1 to {MAX_ROUNDS}, got {value}"));
        }
    }

    fn aggregation(&mut self, aggregation: &Aggregation) {
        if let Some(threshold) = aggregation.threshold {
            self.share(threshold, "/aggregate/threshold");
        }
        if !aggregation.absent.is_empty() {
            let message = "who is absent shows when it runs";
            self.add("/aggregate/absent", "not_here", message);
        }
    }

    /// What concerns everybody who takes part.
    fn voices(&mut self, kind: &PatternKind, depth: usize) {
        let voices = kind.voices();
        if voices.len() > MAX_MEMBERS {
            self.add("", "too_many", format!("expected at most {MAX_MEMBERS} members"));
        }
        let debates = matches!(kind, PatternKind::Debate(_));
        let panel = matches!(kind, PatternKind::ExpertPanel(_));
        let sequence = matches!(kind, PatternKind::Sequential(_));
        let mut labels = HashSet::new();
        let mut weight = 0.0;
        for member in voices {
            let label = member.label();
            if AgentId::new(label).is_err() {
                self.add("", "bad_name", format!("`{label}` is no name of a member"));
            }
            if !labels.insert(label) {
                self.add("", "same_name", format!("two members are known as `{label}`; give one a `label`"));
            }
            match (&member.pattern, member.agent.is_empty()) {
                (Some(_), false) => {
                    self.add("", "two_kinds", format!("`{label}` is an agent and a pattern; choose one"));
                }
                (None, true) => self.add("", "missing", "a member needs an `agent` or a `pattern`"),
                _ => {}
            }
            match check_weight(member.weight) {
                Ok(()) => weight += member.weight,
                Err(_) => {
                    let message = format!(
                        "the weight of `{label}` is {}; expected a number from 0 to 1,000,000,000",
                        member.weight
                    );
                    self.add("", "bad_weight", message);
                    weight = f64::NAN;
                }
            }
            if let Some(role) = member.role
                && !(if role.debates() { debates } else { panel })
            {
                self.add("", "bad_role", format!("`{label}` cannot be {} here", role.name()));
            }
            if !sequence && (member.optional || member.undo.is_some()) {
                let message = format!("`{label}` has `optional` or `undo`, which only a sequence has");
                self.add("", "not_here", message);
            }
            if let Some(inner) = &member.pattern {
                if depth >= MAX_DEPTH {
                    self.add("", "too_deep", format!("patterns lie at most {MAX_DEPTH} deep in each other"));
                } else {
                    let own = self.at.len();
                    self.at.push('/');
                    self.at.push_str(label);
                    self.pattern(inner, depth + 1);
                    self.at.truncate(own);
                }
            }
        }
        if weight == 0.0 && !labels.is_empty() {
            self.add("", "bad_weight", "all members weigh nothing");
        }
    }
}

/// How many turns a pattern takes at most, those inside of its members not counted.
pub(super) fn most_turns(kind: &PatternKind) -> u64 {
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    match kind {
        PatternKind::Sequential(it) => many(it.members.len()).saturating_mul(2),
        PatternKind::Parallel(it) => many(it.members.len()),
        PatternKind::Debate(it) => {
            let each = many(it.members.len()).saturating_add(1).saturating_mul(u64::from(it.turns));
            each.saturating_add(1).saturating_mul(u64::from(it.rounds))
        }
        PatternKind::Verification(it) => {
            many(it.verifiers.len()).saturating_add(1).saturating_mul(u64::from(it.iterations))
        }
        PatternKind::Reflection(it) => u64::from(it.rounds).saturating_mul(2),
        PatternKind::ExpertPanel(it) => many(it.members.len()).saturating_add(1),
        // Items, and then fewer than that many lots in all.
        PatternKind::MapReduce(_) => 20_000,
    }
}
