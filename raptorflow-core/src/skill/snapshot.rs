//! `Snapshot`: the skills of one moment, and how the next moment comes from it and a folder.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use crate::{
    skill::{
        Reload, Skill, SkillId,
        compile::{self, Origin},
        folder::{self, Found},
    },
    types::{Diagnostic, Digest, nearest},
};

/// The skills of one moment; it does not change.
#[derive(Clone, Debug, Default)]
pub(super) struct Snapshot {
    /// By id.
    pub(super) skills: BTreeMap<SkillId, Skill>,
    /// What each file of the folder gave.
    pub(super) files: BTreeMap<String, SkillId>,
    /// Skills that a program added.
    pub(super) added: BTreeSet<SkillId>,
    /// What was wrong when the folder was read.
    pub(super) problems: Vec<Diagnostic>,
}

/// A skill that may be in the next snapshot.
struct Candidate {
    skill: Skill,
    /// What to go back to when it cannot be used.
    before: Option<Skill>,
    file: String,
    text: String,
    is_kept: bool,
}

impl Snapshot {
    /// The skill with this id, or the newest of this family.
    pub(super) fn find(&self, id: &str) -> Option<&Skill> {
        find(&self.skills, id, |skill| skill)
    }

    /// Reads a folder again; a file that is not usable keeps what it gave before.
    pub(super) fn next(&self, root: &Path) -> (Self, Reload) {
        let (found, problems) = folder::find(root);
        let mut reading = Reading { root, before: self, candidates: BTreeMap::new(), problems };
        for found in &found {
            reading.file(found);
        }
        reading.settle();
        reading.finish()
    }
}

struct Reading<'a> {
    root: &'a Path,
    before: &'a Snapshot,
    candidates: BTreeMap<SkillId, Candidate>,
    problems: Vec<Diagnostic>,
}

impl Reading<'_> {
    fn file(&mut self, found: &Found) {
        let before = self.before.files.get(&found.file).and_then(|id| self.before.skills.get(id)).cloned();
        let text = match folder::read(self.root, &found.file) {
            Ok(text) => text,
            Err(err) => {
                self.problems
                    .push(Diagnostic::error("unreadable", err.to_string()).in_file(found.file.as_str()));
                return self.keep(before, found, String::new());
            }
        };
        if let Some(same) = before.clone().filter(|skill| self.is_same(skill, found, &text)) {
            self.problems.extend(same.warnings().iter().cloned());
            return self.add(same, before, found, text, false);
        }
        let include = |name: &str| folder::read(self.root, name).ok();
        let (name, resources) = found.open.clone().unzip();
        let resources = resources.unwrap_or_default();
        let origin = Origin {
            file: Some(&found.file),
            folder: name.as_deref(),
            resources: &resources,
            include: &include,
        };
        let (skill, problems) = compile::compile(&text, origin);
        self.problems.extend(problems);
        match skill {
            Some(skill) => self.add(skill, before, found, text, false),
            None => self.keep(before, found, text),
        }
    }

    /// Whether a file and everything that it includes is what it was.
    fn is_same(&self, skill: &Skill, found: &Found, text: &str) -> bool {
        if let Some((_, resources)) = &found.open {
            let pieces = std::iter::once(text).chain(resources.iter().map(String::as_str));
            return skill.resources() == resources && Digest::of_all(pieces) == skill.digest();
        }
        let mut pieces = vec![text.to_owned()];
        for name in skill.resources() {
            match folder::read(self.root, name) {
                Ok(included) => pieces.extend([name.clone(), included]),
                Err(_) => return false,
            }
        }
        Digest::of_all(pieces) == skill.digest()
    }

    fn keep(&mut self, before: Option<Skill>, found: &Found, text: String) {
        if let Some(skill) = before.clone() {
            self.add(skill, before, found, text, true);
        }
    }

    fn add(&mut self, skill: Skill, before: Option<Skill>, found: &Found, text: String, is_kept: bool) {
        let id = skill.id().clone();
        let other = self.candidates.get(&id).map(|other| (other.file.clone(), other.is_kept));
        let added = self.before.added.contains(&id);
        if added || other.as_ref().is_some_and(|(_, other_is_kept)| !other_is_kept) {
            let owner = other.map_or_else(|| "the program".to_owned(), |(file, _)| format!("`{file}`"));
            let problem = Diagnostic::error("duplicate_id", format!("{owner} gives a skill `{id}` too"));
            self.problems
                .push(problem.in_file(found.file.as_str()).at_offset(&text, offset_of(&text, id.as_str())));
            // What the file gave before under another name stays.
            if let Some(before) =
                before.filter(|before| *before.id() != id && !self.candidates.contains_key(before.id()))
            {
                let candidate =
                    Candidate { skill: before, before: None, file: found.file.clone(), text, is_kept: true };
                self.candidates.insert(candidate.skill.id().clone(), candidate);
            }
            return;
        }
        self.candidates.insert(id, Candidate { skill, before, file: found.file.clone(), text, is_kept });
    }

    /// Takes out or takes back skills whose dependencies are missing or run in a circle, until none is left.
    fn settle(&mut self) {
        loop {
            let refused = self.refused();
            if refused.is_empty() {
                return;
            }
            let mut taken: BTreeSet<SkillId> = BTreeSet::new();
            for (id, problem) in refused {
                // Of two reasons the first is told; the second may not hold for what takes its place.
                if !taken.insert(id.clone()) {
                    continue;
                }
                let Some(candidate) = self.candidates.remove(&id) else { continue };
                let offset = offset_of(&candidate.text, "dependencies");
                let problem = problem.in_file(candidate.file.as_str()).at_offset(&candidate.text, offset);
                if !self.problems.contains(&problem) {
                    self.problems.push(problem);
                }
                // The version before this one is tried; when that is no better, the next round takes it out.
                let Candidate { skill, before, file, text, .. } = candidate;
                if let Some(before) = before.filter(|before| *before != skill) {
                    let id = before.id().clone();
                    self.candidates
                        .insert(id, Candidate { skill: before, before: None, file, text, is_kept: true });
                }
            }
        }
    }

    fn refused(&self) -> Vec<(SkillId, Diagnostic)> {
        let known: Vec<&str> = self.all().map(SkillId::as_str).collect();
        let mut refused = Vec::new();
        for (id, candidate) in &self.candidates {
            for dependency in &candidate.skill.spec().dependencies.skills {
                if self.depended(dependency.as_str()).is_none() {
                    let near = nearest(dependency.as_str(), known.iter().copied());
                    let near =
                        near.first().map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
                    let message = format!("`{id}` depends on `{dependency}`, which is not there{near}");
                    refused.push((id.clone(), Diagnostic::error("unknown_dependency", message)));
                }
            }
        }
        if refused.is_empty() { self.circles() } else { refused }
    }

    fn all(&self) -> impl Iterator<Item = &SkillId> {
        self.candidates.keys().chain(&self.before.added)
    }

    fn depended(&self, id: &str) -> Option<&Skill> {
        let added = || {
            let skill = self.before.find(id)?;
            self.before.added.contains(skill.id()).then_some(skill)
        };
        find(&self.candidates, id, |candidate| &candidate.skill).or_else(added)
    }

    /// The members of every circle of dependencies.
    fn circles(&self) -> Vec<(SkillId, Diagnostic)> {
        let mut refused: Vec<(SkillId, Diagnostic)> = Vec::new();
        for id in self.candidates.keys() {
            if refused.iter().any(|(known, _)| known == id) {
                continue;
            }
            if let Err(circle) = order(id.as_str(), &|id| self.depended(id)) {
                if refused.iter().any(|(known, _)| circle.contains(known)) {
                    continue;
                }
                let names: Vec<&str> = circle.iter().map(SkillId::as_str).collect();
                let message = format!("dependencies run in a circle: {}", names.join(" → "));
                // A change that closed the circle is taken back; where there is none to take back, all of it goes.
                let members: Vec<(&SkillId, &Candidate)> =
                    circle.iter().skip(1).filter_map(|id| Some((id, self.candidates.get(id)?))).collect();
                let is_changed = |candidate: &Candidate| {
                    candidate.before.as_ref().is_some_and(|before| *before != candidate.skill)
                };
                let some_changed = members.iter().any(|(_, candidate)| is_changed(candidate));
                let members =
                    members.into_iter().filter(|(_, candidate)| !some_changed || is_changed(candidate));
                let problems = members
                    .map(|(id, _)| (id.clone(), Diagnostic::error("cyclic_dependency", message.clone())));
                refused.extend(problems.collect::<Vec<_>>());
            }
        }
        refused
    }

    fn finish(self) -> (Snapshot, Reload) {
        let mut next = Snapshot { added: self.before.added.clone(), ..Snapshot::default() };
        let mut report = Reload::default();
        for id in &self.before.added {
            next.skills.extend(self.before.skills.get(id).map(|skill| (id.clone(), skill.clone())));
        }
        for (id, candidate) in self.candidates {
            match self.before.skills.get(&id) {
                _ if candidate.is_kept => report.kept.push(id.clone()),
                None => report.added.push(id.clone()),
                Some(before) if *before == candidate.skill => report.unchanged += 1,
                Some(_) => report.changed.push(id.clone()),
            }
            next.files.insert(candidate.file, id.clone());
            next.skills.insert(id, candidate.skill);
        }
        report.removed =
            self.before.skills.keys().filter(|id| !next.skills.contains_key(*id)).cloned().collect();
        report.problems = self.problems;
        next.problems.clone_from(&report.problems);
        (next, report)
    }
}

fn offset_of(text: &str, part: &str) -> usize {
    text.find(part).unwrap_or_default()
}

/// The entry with this id, or the newest of this family.
fn find<'m, T>(
    all: &'m BTreeMap<SkillId, T>,
    id: &str,
    skill: impl Fn(&'m T) -> &'m Skill,
) -> Option<&'m Skill> {
    let wanted: SkillId = id.parse().ok().or_else(|| format!("{id}.v1").parse().ok())?;
    if wanted.as_str() == id
        && let Some(exact) = all.get(&wanted)
    {
        return Some(skill(exact));
    }
    let family = all.iter().filter(|(known, _)| known.version().is_some() && known.family() == id);
    family.max_by_key(|(known, _)| known.version()).map(|(_, entry)| skill(entry))
}

/// A skill with everything that it rests on, in an order in which each stands behind what it needs; `Err` is a circle
/// that begins and ends with the same id.
pub(super) fn order<'s>(
    id: &str,
    find: &dyn Fn(&str) -> Option<&'s Skill>,
) -> Result<Vec<Skill>, Vec<SkillId>> {
    let mut done: Vec<Skill> = Vec::new();
    let mut path: Vec<SkillId> = Vec::new();
    visit(id, find, &mut path, &mut done)?;
    Ok(done)
}

fn visit<'s>(
    id: &str,
    find: &dyn Fn(&str) -> Option<&'s Skill>,
    path: &mut Vec<SkillId>,
    done: &mut Vec<Skill>,
) -> Result<(), Vec<SkillId>> {
    let Some(skill) = find(id) else { return Ok(()) };
    if done.iter().any(|known| known.id() == skill.id()) {
        return Ok(());
    }
    if let Some(first) = path.iter().position(|known| known == skill.id()) {
        let mut circle = path.split_off(first);
        circle.push(skill.id().clone());
        return Err(circle);
    }
    path.push(skill.id().clone());
    for dependency in &skill.spec().dependencies.skills {
        visit(dependency.as_str(), find, path, done)?;
    }
    path.pop();
    done.push(skill.clone());
    Ok(())
}
