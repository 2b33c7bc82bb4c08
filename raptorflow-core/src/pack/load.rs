//! Reads a folder of teams, agents, workflows and skills; every file is read, and every problem is reported with its place.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    agent::{AgentSpec, Routing},
    error::{Error, ErrorKind, Result},
    event::Channel,
    orchestrator::TeamSpec,
    pack::{
        AgentCase, Manifest, SkillCase,
        judged::{self, Cases, Judged},
        place::Place,
        refs, skills,
        skills::Skills,
        validate::{Files, Parts, check_counts, validate},
    },
    skill::{Skill, SkillId},
    types::{Diagnostic, Diagnostics, Schema, Severity},
    workflow::WorkflowSpec,
};

/// The largest file that a pack may have, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// How many files a pack may have.
const MAX_FILES: usize = 5000;
/// Where the lead begins in a team's file.
const SUPERVISOR: &str = "[supervisor]";

/// A pack that was read and checked.
///
/// ```
/// use raptorflow_core::{Engine, pack::Pack};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let folder = tempfile::tempdir()?;
/// std::fs::create_dir(folder.path().join("domains"))?;
/// std::fs::write(
///     folder.path().join("pack.toml"),
///     r#"
///     name = "office"
///     version = "0.1.0"
///     description = "One team."
///     contents = { domains = 1, agents = 0, supervisors = 1, capabilities = 0 }
///     "#,
/// )?;
/// std::fs::write(
///     folder.path().join("domains/plans.toml"),
///     r#"
///     name = "plans"
///     title = "Plans"
///     concern = "plans and execution"
///     heading = "The plan"
///     description = "Says who does what until when."
///     [supervisor]
///     name = "planner"
///     description = "Makes plans."
///     instructions = "Plan."
///     "#,
/// )?;
/// let pack = Pack::load(folder.path())?;
/// let engine = Engine::builder().build().await?;
/// engine.install(&pack)?;
/// assert_eq!(engine.agents().len(), 2, "the planner, and the office as a whole");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Pack {
    pub(super) manifest: Manifest,
    pub(super) teams: Vec<(TeamSpec, AgentSpec)>,
    pub(super) agents: Vec<AgentSpec>,
    pub(super) skills: Vec<Skill>,
    pub(super) cases: BTreeMap<SkillId, Vec<SkillCase>>,
    pub(super) workflows: Vec<WorkflowSpec>,
    pub(super) agent_cases: Cases,
}

/// A spec and the file that it came from.
pub(super) struct Found<T> {
    pub(super) file: Arc<str>,
    pub(super) text: String,
    pub(super) value: T,
}

/// A team's file: the team and its supervisor.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TeamFile {
    pub(super) name: String,
    title: String,
    concern: String,
    heading: String,
    description: String,
    #[serde(default)]
    channels: Vec<Channel>,
    #[serde(default)]
    routing: Routing,
    pub(super) supervisor: AgentSpec,
}

impl<T> Found<T> {
    pub(super) fn place(&self) -> Place<'_> {
        Place::new(&self.file, &self.text)
    }
}

impl Found<TeamFile> {
    /// Where the lead is.
    pub(super) fn lead(&self) -> Place<'_> {
        self.place().below(SUPERVISOR)
    }
}

impl Pack {
    /// Reads and checks the pack in a folder; blocks on the disk.
    ///
    /// # Errors
    /// `NotFound` when there is no `pack.toml`, `InvalidInput` whose cause ([`Diagnostics`]) is every problem found.
    pub fn load(folder: impl AsRef<Path>) -> Result<Self> {
        let folder = folder.as_ref();
        if !folder.join("pack.toml").is_file() {
            let message = "no `pack.toml` in the folder; name the folder of a pack";
            return Err(
                Error::new(ErrorKind::NotFound, "pack.load", message).with("folder", folder.display())
            );
        }
        let (pack, problems) = Self::check(folder);
        let problems = Diagnostics(problems);
        match pack {
            Some(pack) if !problems.has_errors() => Ok(pack),
            _ => Err(problems
                .into_error("pack.load", "the pack has problems")
                .with("folder", folder.display())),
        }
    }

    /// Reads the pack in a folder and lists every problem; `None` when the manifest cannot be read.
    #[must_use]
    pub fn check(folder: &Path) -> (Option<Self>, Vec<Diagnostic>) {
        let mut reader = Reader { folder, problems: Vec::new(), files: 0 };
        let manifest: Option<Found<Manifest>> = reader.file(Path::new("pack.toml"));
        let schemas = reader.schemas();
        let mut teams: Vec<Found<TeamFile>> = reader.folder("domains");
        // A file that lies beside the folders of the teams is read too, and found to be in the wrong place.
        let mut agents: Vec<Found<AgentSpec>> = reader.folder("agents");
        for sub in reader.folders("agents") {
            agents.extend(reader.folder(&sub));
        }
        let flows: Vec<Found<WorkflowSpec>> = reader.folder("workflows");
        let mut problems = reader.problems;
        let Skills { skills, cases, problems: of_skills } = skills::read(folder);
        let all_skills = of_skills.iter().all(|problem| problem.severity == Severity::Warning);
        let files = if problems.is_empty() && all_skills { Files::All } else { Files::Some };
        problems.extend(of_skills);
        for team in &mut teams {
            team.value.supervisor.domain = Some(Arc::from(team.value.name.as_str()));
            let place = Place::new(&team.file, &team.text).below(SUPERVISOR);
            problems.extend(place_schemas(&mut team.value.supervisor, &schemas, place));
        }
        for agent in &mut agents {
            let place = Place::new(&agent.file, &agent.text);
            problems.extend(place_schemas(&mut agent.value, &schemas, place));
        }
        let (agent_cases, of_cases) = judged::read(folder, &judged_agents(&teams, &agents));
        let Some(manifest) = manifest else { return (None, problems) };
        problems.extend(validate(
            Parts { manifest: &manifest, teams: &teams, agents: &agents, flows: &flows },
            files,
        ));
        if files == Files::All {
            problems.extend(of_cases);
            let contents = manifest.value.contents;
            let cases_of_skills = cases.values().map(Vec::len).sum();
            let cases_of_agents = agent_cases.values().map(Vec::len).sum();
            problems.extend(check_counts(
                &manifest,
                &[
                    ("skills", contents.skills, skills.len()),
                    ("skill_cases", contents.skill_cases, cases_of_skills),
                    ("workflows", contents.workflows, flows.len()),
                    ("agent_cases", contents.agent_cases, cases_of_agents),
                ],
            ));
        }
        let retrieval = manifest.value.defaults.retrieval;
        let with_defaults = |mut spec: AgentSpec| {
            spec.retrieval = spec.retrieval.or(retrieval);
            spec
        };
        let agents = agents.into_iter().map(|found| with_defaults(found.value)).collect();
        let teams = teams
            .into_iter()
            .map(|found| found.value.split())
            .map(|(team, lead)| (team, with_defaults(lead)));
        let workflows = flows.into_iter().map(|found| found.value).collect();
        let (manifest, teams) = (manifest.value, teams.collect());
        (Some(Self { manifest, teams, agents, skills, cases, workflows, agent_cases }), problems)
    }

    /// What the pack is.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Its teams with their supervisors, by name.
    #[must_use]
    pub fn teams(&self) -> &[(TeamSpec, AgentSpec)] {
        &self.teams
    }

    /// Its agents besides the supervisors.
    #[must_use]
    pub fn agents(&self) -> &[AgentSpec] {
        &self.agents
    }

    /// Its workflows, by name; they are installed with its agents.
    #[must_use]
    pub fn workflows(&self) -> &[WorkflowSpec] {
        &self.workflows
    }

    /// The cases that an agent or a supervisor is judged by; none for one that the pack does not have.
    #[must_use]
    pub fn agent_cases(&self, agent: &str) -> &[AgentCase] {
        self.agent_cases.get(agent).map(Vec::as_slice).unwrap_or_default()
    }

    /// Its skills, by id; a host puts those that it wants into a registry of its own.
    #[must_use]
    pub fn skills(&self) -> &[Skill] {
        &self.skills
    }

    /// The cases that a skill is judged by; none for one that the pack does not have.
    #[must_use]
    pub fn skill_cases(&self, id: &SkillId) -> &[SkillCase] {
        self.cases.get(id).map(Vec::as_slice).unwrap_or_default()
    }
}

impl TeamFile {
    fn split(self) -> (TeamSpec, AgentSpec) {
        let Self { name, title, concern, heading, description, channels, routing, supervisor } = self;
        (TeamSpec { name, title, concern, heading, description, channels, routing }, supervisor)
    }
}

struct Reader<'a> {
    folder: &'a Path,
    problems: Vec<Diagnostic>,
    files: usize,
}

impl Reader<'_> {
    /// The schemas by name; one that cannot be read allows everything, so that it is a problem only once.
    fn schemas(&mut self) -> BTreeMap<String, Value> {
        let files = self.files_of("schemas");
        let read = |file: &PathBuf| {
            let found = self.file(file).map_or(Value::Bool(true), |found: Found<Value>| found.value);
            (stem(&file.display().to_string()), found)
        };
        files.iter().map(read).collect()
    }

    /// All TOML files of a folder, by name; a folder that does not exist has none.
    fn folder<T: DeserializeOwned>(&mut self, name: &str) -> Vec<Found<T>> {
        let files = self.files_of(name);
        files.iter().filter_map(|file| self.file(file)).collect()
    }

    fn files_of(&mut self, name: &str) -> Vec<PathBuf> {
        let toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
        self.list(name).into_iter().filter(toml).collect()
    }

    /// The folders in a folder, by name.
    fn folders(&mut self, name: &str) -> Vec<String> {
        let paths = self.list(name);
        let folders = paths.into_iter().filter(|path| self.folder.join(path).is_dir());
        folders.map(|path| path.display().to_string()).collect()
    }

    fn list(&mut self, name: &str) -> Vec<PathBuf> {
        let path = self.folder.join(name);
        if !path.is_dir() {
            return Vec::new();
        }
        let listed = fs::read_dir(&path).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
        match listed {
            Ok(entries) => {
                let mut paths: Vec<PathBuf> =
                    entries.into_iter().map(|entry| Path::new(name).join(entry.file_name())).collect();
                paths.sort();
                paths
            }
            Err(err) => {
                self.problems.push(Diagnostic::error("unreadable", err.to_string()).in_file(name));
                Vec::new()
            }
        }
    }

    fn file<T: DeserializeOwned>(&mut self, path: &Path) -> Option<Found<T>> {
        let file: Arc<str> = path.display().to_string().into();
        let text = match self.read(path) {
            Ok(text) => text,
            Err(reason) => {
                self.problems.push(Diagnostic::error("unreadable", reason).in_file(file));
                return None;
            }
        };
        match toml::from_str(&text) {
            Ok(value) => Some(Found { file, text, value }),
            Err(err) => {
                let offset = err.span().map_or(0, |span| span.start);
                let problem = Diagnostic::error("invalid_file", err.message()).in_file(file);
                self.problems.push(problem.at_offset(&text, offset));
                None
            }
        }
    }

    fn read(&mut self, path: &Path) -> std::result::Result<String, String> {
        self.files += 1;
        if self.files > MAX_FILES {
            return Err(format!("the pack has over {MAX_FILES} files"));
        }
        let path = self.folder.join(path);
        let size = fs::metadata(&path).map_err(|err| err.to_string())?.len();
        if size > MAX_FILE {
            return Err(format!("the file has {size} bytes; at most {MAX_FILE} are read"));
        }
        fs::read_to_string(&path).map_err(|err| err.to_string())
    }
}

/// Every agent that may have cases, the leads included.
fn judged_agents<'a>(teams: &'a [Found<TeamFile>], agents: &'a [Found<AgentSpec>]) -> Vec<Judged<'a>> {
    let leads =
        teams.iter().map(|team| Judged { file: &team.file, spec: &team.value.supervisor, leads: true });
    let members = agents.iter().map(|agent| Judged { file: &agent.file, spec: &agent.value, leads: false });
    leads.chain(members).collect()
}

/// Puts the pack's schemas in place and checks that every schema of an agent is usable.
fn place_schemas(
    spec: &mut AgentSpec,
    schemas: &BTreeMap<String, Value>,
    place: Place<'_>,
) -> Vec<Diagnostic> {
    let mut problems = Vec::new();
    let mut put = |schema: &mut Schema, owner: &str, what: &str| {
        let mut value = schema.as_value().clone();
        let mut messages: Vec<(&str, String)> = refs::resolve(&mut value, schemas)
            .into_iter()
            .map(|message| ("unresolved_reference", message))
            .collect();
        *schema = Schema::unchecked(value);
        if messages.is_empty()
            && let Err(err) = schema.check()
        {
            messages.push(("invalid_schema", format!("{err}")));
        }
        problems.extend(messages.into_iter().map(|(code, message)| {
            place.problem("name", owner, code, format!("{what} of `{owner}`: {message}"))
        }));
    };
    for capability in &mut spec.capabilities {
        put(&mut capability.input, &capability.name, "input");
        put(&mut capability.output, &capability.name, "output");
    }
    if let Some(output) = &mut spec.output {
        put(output, spec.name.as_str(), "output");
    }
    problems
}

/// The name of a file without folder and ending.
pub(super) fn stem(file: &str) -> String {
    Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
