//! `SkillRegistry`: skills by id, category and tag, and a folder of them that is read again while others render.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    error::{Error, ErrorKind, Result},
    skill::{
        Skill, SkillId, SkillSummary, skill,
        snapshot::{Snapshot, order},
    },
    types::{Diagnostic, Diagnostics, Message},
};

/// Skills by id, category and tag; cloning is cheap, and clones are the same registry.
///
/// A reader takes the skills of one moment and keeps them; reading the folder again makes the next moment beside it
/// and puts it in place at once, so that nobody waits and nobody sees half of it.
///
/// In the folder, every `.md` file is a skill, but those whose name begins with `_`, which others include, and
/// `README.md`.
/// A folder with `SKILL.md` is one open skill with everything below it.
///
/// ```
/// use raptorflow_core::skill::SkillRegistry;
/// use serde_json::json;
/// let folder = tempfile::tempdir()?;
/// let file = folder.path().join("greet.md");
/// let skill = |text: &str| format!(
///     "---\nskill_id: talk.greet.v1\nname: Greet\ndescription: Greets.\nversion: 1.0.0\n---\n## MISSION\n{text}\n");
/// std::fs::write(&file, skill("Say hello."))?;
/// let skills = SkillRegistry::load(folder.path())?;
/// assert_eq!(skills.render("talk.greet", &json!({}))?[0].text(), "## MISSION\nSay hello.");
///
/// std::fs::write(&file, skill("Say {{ nothing."))?;
/// let report = skills.reload()?;
/// assert_eq!(report.kept[0].as_str(), "talk.greet.v1", "a bad file keeps the good version");
/// assert!(report.problems.iter().any(|problem| problem.line == 8));
/// assert_eq!(skills.render("talk.greet", &json!({}))?[0].text(), "## MISSION\nSay hello.");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SkillRegistry(Arc<Inner>);

#[derive(Default)]
struct Inner {
    folder: Option<PathBuf>,
    // Held only to take or to put the pointer, never while a folder is read.
    now: RwLock<Arc<Snapshot>>,
    // One change at a time.
    changing: Mutex<()>,
}

/// What reading a folder again changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reload {
    /// Skills that were not there before.
    pub added: Vec<SkillId>,
    /// Skills whose text is another.
    pub changed: Vec<SkillId>,
    /// Skills that are gone.
    pub removed: Vec<SkillId>,
    /// Skills that stay as they were because their file has problems now.
    pub kept: Vec<SkillId>,
    /// How many are as they were.
    pub unchanged: usize,
    /// Everything that is wrong in the folder, warnings included.
    pub problems: Vec<Diagnostic>,
}

impl SkillRegistry {
    /// A registry without skills and without a folder.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a folder in which every skill has to be usable; blocks on the disk.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder; `InvalidInput` whose cause ([`Diagnostics`]) is every problem of every
    /// file.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let registry = Self::open(folder)?;
        let problems = skill::errors(registry.diagnostics());
        if problems.is_empty() {
            return Ok(registry);
        }
        Err(Diagnostics(problems).into_error("skill.load", "the folder of skills has problems"))
    }

    /// Reads a folder and leaves out what is not usable, which [`SkillRegistry::diagnostics`] tells; blocks on the disk.
    ///
    /// # Errors
    /// `NotFound` when there is no such folder.
    pub fn open(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref().to_owned();
        let registry = Self(Arc::new(Inner { folder: Some(folder), ..Inner::default() }));
        registry.reload()?;
        Ok(registry)
    }

    /// Reads the folder again; blocks on the disk.
    ///
    /// A file with problems keeps the skill that it gave before, and so does one whose new dependencies are missing or
    /// run in a circle; a skill that rests on one that is gone goes too.
    ///
    /// # Errors
    /// `NotFound` when the folder is gone, and then nothing changes; `Unsupported` when the registry has none.
    pub fn reload(&self) -> Result<Reload> {
        let Some(folder) = &self.0.folder else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "skill.reload",
                "the registry was made without a folder",
            ));
        };
        if !folder.is_dir() {
            let err = Error::new(ErrorKind::NotFound, "skill.load", "no such folder of skills");
            return Err(err.with("folder", folder.display()));
        }
        let _one = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (next, report) = self.now().next(folder);
        self.put(next);
        Ok(report)
    }

    /// Adds a skill that no file has; reading the folder again keeps it.
    ///
    /// # Errors
    /// `AlreadyExists` when there is one with its id.
    pub fn insert(&self, skill: Skill) -> Result<()> {
        let _one = self.0.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Snapshot::clone(&self.now());
        if next.skills.contains_key(skill.id()) {
            let err = Error::new(ErrorKind::AlreadyExists, "skill.insert", "a skill has this id");
            return Err(err.with("skill", skill.id()));
        }
        next.added.insert(skill.id().clone());
        next.skills.insert(skill.id().clone(), skill);
        self.put(next);
        Ok(())
    }

    /// The skill with an id such as `writing.summary.v1`, or the newest version of `writing.summary`.
    ///
    /// # Errors
    /// `NotFound` with the nearest id.
    pub fn get(&self, id: &str) -> Result<Skill> {
        let now = self.now();
        now.find(id).cloned().ok_or_else(|| {
            let known: Vec<&str> = now.skills.keys().map(SkillId::as_str).collect();
            Skill::not_found(id, &known)
        })
    }

    /// The messages of a skill for these inputs; see [`Skill::render`].
    ///
    /// # Errors
    /// As [`SkillRegistry::get`] and [`Skill::render`].
    pub fn render(&self, id: &str, inputs: &Value) -> Result<Vec<Message>> {
        self.get(id)?.render(inputs)
    }

    /// A skill behind everything that it rests on, each of them once.
    ///
    /// # Errors
    /// `NotFound` when it or one of these is missing, `InvalidInput` when they run in a circle, which is named.
    pub fn resolve(&self, id: &str) -> Result<Vec<Skill>> {
        let now = self.now();
        let wanted = self.get(id)?;
        let ordered = order(wanted.id().as_str(), &|id| now.find(id)).map_err(|circle| {
            let names: Vec<&str> = circle.iter().map(SkillId::as_str).collect();
            let err = Error::new(ErrorKind::InvalidInput, "skill.resolve", "dependencies run in a circle");
            err.with("circle", names.join(" → "))
        })?;
        for dependency in ordered.iter().flat_map(|skill| &skill.spec().dependencies.skills) {
            self.get(dependency.as_str())?;
        }
        Ok(ordered)
    }

    /// All skills, by id.
    #[must_use]
    pub fn list(&self) -> Vec<Skill> {
        self.now().skills.values().cloned().collect()
    }

    /// One entry for each skill, for whoever chooses among them.
    #[must_use]
    pub fn summaries(&self) -> Vec<SkillSummary> {
        self.now().skills.values().map(Skill::summary).collect()
    }

    /// The skills of a category, by id.
    #[must_use]
    pub fn by_category(&self, category: &str) -> Vec<Skill> {
        self.matching(|skill| skill.spec().category == category)
    }

    /// The skills with a tag, by id.
    #[must_use]
    pub fn by_tag(&self, tag: &str) -> Vec<Skill> {
        self.matching(|skill| skill.spec().tags.iter().any(|known| known == tag))
    }

    /// The versions of a family such as `writing.summary`, oldest first.
    #[must_use]
    pub fn versions(&self, family: &str) -> Vec<Skill> {
        let mut versions = self.matching(|skill| skill.id().family() == family);
        versions.sort_by_key(|skill| skill.id().version());
        versions
    }

    /// What each skill is about as one text, for an index that finds skills by meaning.
    #[must_use]
    pub fn descriptions(&self) -> Vec<(SkillId, String)> {
        let described = |skill: &Skill| {
            let spec = skill.spec();
            let mut text = format!("{}. {}", spec.name, spec.description);
            if !spec.tags.is_empty() {
                text.push(' ');
                text.push_str(&spec.tags.join(", "));
            }
            (spec.id.clone(), text)
        };
        self.now().skills.values().map(described).collect()
    }

    /// Everything that was wrong when the folder was read last, warnings included.
    #[must_use]
    pub fn diagnostics(&self) -> Vec<Diagnostic> {
        self.now().problems.clone()
    }

    /// The number of skills.
    #[must_use]
    pub fn len(&self) -> usize {
        self.now().skills.len()
    }

    /// Whether there are no skills.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.now().skills.is_empty()
    }

    fn matching(&self, wanted: impl Fn(&Skill) -> bool) -> Vec<Skill> {
        self.now().skills.values().filter(|skill| wanted(skill)).cloned().collect()
    }

    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, next: Snapshot) {
        let next = Arc::new(next);
        let before = {
            let mut now = self.0.now.write().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut *now, next)
        };
        // Freed outside the lock: it may be the last owner of many skills.
        drop(before);
    }
}

impl fmt::Debug for SkillRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SkillRegistry").field("folder", &self.0.folder).field("skills", &self.len()).finish()
    }
}
