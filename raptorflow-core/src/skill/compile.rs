//! The compiler: the text of a skill becomes a [`Skill`], or the list of everything that is wrong with it.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use minijinja::{Environment, ErrorKind as Fault, Value as Slot};

use crate::{
    skill::{
        Escape, Field, FieldKind, Skill, SkillFormat, SkillSpec, TemplateConfig, Undefined, field,
        frontmatter,
        open::OpenSkill,
        reader::Reader,
        skill::{Compiled, Part},
        source::{self, Section, Source},
        template::{self, Authored, Scan, guarded},
        yaml::{self, Node, Yaml},
    },
    types::{Diagnostic, Digest, Severity, nearest},
};

/// How long a skill may be, in bytes.
const MAX_BYTES: usize = 512 * 1024;
/// How many files a skill may include, directly or not.
const MAX_INCLUDES: usize = 32;
/// The sections that a complete skill has.
pub(super) const SECTIONS: [&str; 8] = [
    "IDENTITY",
    "CONTEXT INJECTION",
    "MISSION",
    "METHODOLOGY",
    "RULES",
    "TOOL USAGE",
    "OUTPUT FORMAT",
    "SELF-CORRECTION",
];

/// Where a skill comes from.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    /// The file, for messages.
    pub(super) file: Option<&'a str>,
    /// The folder that an open skill lies in.
    pub(super) folder: Option<&'a str>,
    /// Other files of an open skill, relative to its folder.
    pub(super) resources: &'a [String],
    /// The text of a file that a template names; `None` when there is no such file.
    pub(super) include: &'a dyn Fn(&str) -> Option<String>,
}

/// Compiles a skill; `None` when it has an error.
pub(super) fn compile(text: &str, origin: Origin<'_>) -> (Option<Skill>, Vec<Diagnostic>) {
    let (compiled, mut problems) = compile_parts(text, origin);
    if let Some(file) = origin.file {
        let file: Arc<str> = file.into();
        for problem in problems.iter_mut().filter(|problem| problem.file.is_none()) {
            problem.file = Some(Arc::clone(&file));
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    let refused = problems.iter().any(|problem| problem.severity == Severity::Error);
    let skill = compiled.filter(|_| !refused).map(|mut compiled| {
        compiled.warnings.clone_from(&problems);
        Skill::new(compiled)
    });
    (skill, problems)
}

fn compile_parts(text: &str, origin: Origin<'_>) -> (Option<Compiled>, Vec<Diagnostic>) {
    if text.len() > MAX_BYTES {
        let message = format!("a skill of {} bytes; at most {MAX_BYTES} are read", text.len());
        return (None, vec![Diagnostic::error("too_large", message).at(1, 1)]);
    }
    let source = match source::split(text) {
        Ok(source) => source,
        Err(problem) => return (None, vec![problem]),
    };
    let (node, problems) = yaml::parse(source.front, source.front_line);
    let mut reader = Reader { problems };
    let is_open = origin.folder.is_some() || node.as_ref().is_some_and(|node| !has_field(node, "skill_id"));
    if is_open {
        let compiled = node.and_then(|node| open(&mut reader, &node, source, text, origin));
        return (compiled, reader.problems);
    }
    let spec = node.as_ref().and_then(|node| frontmatter::read(&mut reader, node));
    let compiled = Body::new(spec.as_ref(), origin).compile(source, text, &mut reader.problems);
    let compiled = spec.zip(compiled).map(|(spec, body)| Compiled {
        input_schema: field::schema(&spec.inputs),
        output_schema: field::schema(&spec.outputs),
        spec,
        file: origin.file.map(Arc::from),
        ..body
    });
    (compiled, reader.problems)
}

fn has_field(node: &Node, name: &str) -> bool {
    matches!(&node.value, Yaml::Map(fields) if fields.iter().any(|(key, _)| key.text == name))
}

fn open(
    reader: &mut Reader,
    node: &Node,
    source: Source<'_>,
    text: &str,
    origin: Origin<'_>,
) -> Option<Compiled> {
    let skill = match OpenSkill::from_node(node, source.body) {
        Ok(skill) => skill,
        Err(problems) => {
            reader.problems.extend(problems);
            return None;
        }
    };
    reader.problems.extend(skill.check(origin.folder));
    let spec = skill.to_spec()?;
    let pieces = std::iter::once(text).chain(origin.resources.iter().map(String::as_str));
    Some(Compiled {
        digest: Digest::of_all(pieces),
        input_schema: field::schema(&[]),
        output_schema: field::schema(&[]),
        spec,
        file: origin.file.map(Arc::from),
        body: skill.body().to_owned(),
        sections: Vec::new(),
        parts: vec![Part::Fixed(skill.body().to_owned())],
        env: Environment::empty(),
        resources: origin.resources.to_vec(),
        warnings: Vec::new(),
    })
}

/// The body of a typed skill while it is compiled.
struct Body<'a> {
    /// `None` when the front matter cannot be read; then names are not checked.
    spec: Option<&'a SkillSpec>,
    origin: Origin<'a>,
    env: Environment<'static>,
    /// Included files and their texts.
    included: BTreeMap<String, String>,
}

impl<'a> Body<'a> {
    fn new(spec: Option<&'a SkillSpec>, origin: Origin<'a>) -> Self {
        Self { spec, origin, env: Environment::empty(), included: BTreeMap::new() }
    }

    fn compile(mut self, source: Source<'_>, text: &str, problems: &mut Vec<Diagnostic>) -> Option<Compiled> {
        let sections = source::sections(source.body, source.body_line);
        if sections.is_empty() {
            problems.push(Diagnostic::error("empty_body", "the skill has no body").at(source.body_line, 1));
            return None;
        }
        let config = TemplateConfig {
            undefined: Undefined::Condition,
            escape: Escape::Delimit,
            ..TemplateConfig::default()
        };
        for section in &sections {
            self.include(section.text, section.line, None, problems);
        }
        self.env = template::environment(&config, self.authored(&sections));
        for (name, text) in &self.included {
            if let Err(err) = self.env.add_template_owned(name.clone(), guarded(text)) {
                problems.push(template::problem(&err, 1).in_file(name.as_str()));
            }
        }
        let parts: Vec<Part> = sections
            .iter()
            .enumerate()
            .filter_map(|(index, section)| self.part(index, section, problems))
            .collect();
        self.check_sections(&sections, source.body_line, problems);
        self.check_inputs(&sections, problems);
        let pieces = std::iter::once(text)
            .chain(self.included.iter().flat_map(|(name, text)| [name.as_str(), text.as_str()]));
        let digest = Digest::of_all(pieces);
        Some(Compiled {
            spec: self.spec?.clone(),
            digest,
            file: None,
            body: source.body.trim().to_owned(),
            sections: sections.iter().map(|section| section.title.to_owned()).collect(),
            parts,
            input_schema: field::schema(&[]),
            output_schema: field::schema(&[]),
            env: self.env,
            resources: self.included.into_keys().collect(),
            warnings: Vec::new(),
        })
    }

    /// Reads the files that a template names, and those that they name.
    fn include(&mut self, text: &str, first_line: u32, file: Option<&str>, problems: &mut Vec<Diagnostic>) {
        for found in Scan::new(text).includes() {
            let (offset, problem) = match found {
                Err(offset) => {
                    (offset, Some(("computed_include", "a file to include is named by a text".to_owned())))
                }
                Ok((name, _)) if self.included.contains_key(name) => continue,
                Ok((name, offset)) => match self.read(name) {
                    Ok(text) => {
                        self.included.insert(name.to_owned(), text.clone());
                        self.include(&text, 1, Some(name), problems);
                        continue;
                    }
                    Err(message) => (offset, Some(("unknown_include", message))),
                },
            };
            if let Some((code, message)) = problem {
                problems.push(placed(Diagnostic::error(code, message), text, offset, first_line, file));
            }
        }
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
        if name.contains('\\') || !name.split('/').all(plain) {
            return Err(format!("`{name}` leads out of the folder of skills"));
        }
        if self.included.len() >= MAX_INCLUDES {
            return Err(format!("over {MAX_INCLUDES} files are included"));
        }
        (self.origin.include)(name).ok_or_else(|| format!("no file `{name}` in the folder of skills"))
    }

    /// Texts that the author wrote: those in tags, and the choices of inputs.
    fn authored(&self, sections: &[Section<'_>]) -> Authored {
        let texts =
            sections.iter().map(|section| section.text).chain(self.included.values().map(String::as_str));
        let mut authored: HashSet<String> =
            texts.flat_map(|text| Scan::new(text).texts().map(str::to_owned).collect::<Vec<_>>()).collect();
        let mut choices = Vec::new();
        self.spec.iter().flat_map(|spec| &spec.inputs).for_each(|field| field.kind.choices(&mut choices));
        authored.extend(choices.into_iter().map(str::to_owned));
        Arc::new(authored)
    }

    /// One section: a fixed text, or a template with the role that its text gets.
    fn part(&mut self, index: usize, section: &Section<'_>, problems: &mut Vec<Diagnostic>) -> Option<Part> {
        let name = format!("section {index}");
        if let Err(err) = self.env.add_template_owned(name.clone(), guarded(section.text)) {
            problems.push(template::problem(&err, section.line));
            return None;
        }
        let before = problems.len();
        let scan = Scan::new(section.text);
        self.check_names(&scan, section, problems);
        let mut read = self.variables(&name, false);
        let included = scan.includes();
        if included
            .iter()
            .any(|it| it.is_err() || it.is_ok_and(|(name, _)| !self.included.contains_key(name)))
        {
            // Told already, when the files were read.
            return None;
        }
        let included: Vec<&str> = included.into_iter().flatten().map(|(name, _)| name).collect();
        for file in self.reached(&included) {
            read.extend(self.variables(&file, false));
        }
        let paths = self.variables(&name, true);
        self.check_variables(&scan, section, &paths, problems);
        if problems.len() > before {
            return None;
        }
        let inputs: Vec<&Field> = self
            .spec
            .iter()
            .flat_map(|spec| &spec.inputs)
            .filter(|field| read.contains(&field.name))
            .collect();
        if self.spec.is_none() && !read.is_empty() {
            // What it reads cannot be known, since the front matter could not be read.
            return None;
        }
        if inputs.is_empty() {
            return match template::render(
                &self.env,
                &name,
                &Slot::from(()),
                TemplateConfig::default().max_output,
            ) {
                Ok(text) => Some(Part::Fixed(text.trim().to_owned())),
                Err(err) => {
                    problems.push(at_section(&err, section.line));
                    None
                }
            };
        }
        let is_closed = inputs.iter().all(|field| field.kind.is_closed());
        Some(if is_closed { Part::Closed(name) } else { Part::Open(name) })
    }

    /// The files that are included from these, directly or not.
    fn reached(&self, from: &[&str]) -> Vec<String> {
        let mut reached: Vec<String> = from.iter().map(|name| (*name).to_owned()).collect();
        let mut next = 0;
        while let Some(text) = reached.get(next).and_then(|name| self.included.get(name)) {
            for (name, _) in Scan::new(text).includes().into_iter().flatten() {
                if !reached.iter().any(|known| known == name) {
                    reached.push(name.to_owned());
                }
            }
            next += 1;
        }
        reached
    }

    /// What a template reads and does not define itself.
    fn variables(&self, name: &str, nested: bool) -> Vec<String> {
        let globals: Vec<&str> = self.env.globals().map(|(name, _)| name).collect();
        let variables =
            self.env.get_template(name).map(|it| it.undeclared_variables(nested)).unwrap_or_default();
        let is_global = |path: &String| globals.contains(&path.split('.').next().unwrap_or_default());
        let mut variables: Vec<String> = variables.into_iter().filter(|path| !is_global(path)).collect();
        variables.sort();
        variables
    }

    fn check_variables(
        &self,
        scan: &Scan<'_>,
        section: &Section<'_>,
        paths: &[String],
        problems: &mut Vec<Diagnostic>,
    ) {
        let Some(spec) = self.spec else { return };
        for path in paths {
            let Err((code, message)) = known(&spec.inputs, path) else { continue };
            let offset = scan.variable(path).unwrap_or_default();
            problems.push(placed(Diagnostic::error(code, message), section.text, offset, section.line, None));
        }
    }

    /// Filters and tests are looked up only when they run, so they are tried here.
    fn check_names(&self, scan: &Scan<'_>, section: &Section<'_>, problems: &mut Vec<Diagnostic>) {
        for (name, offset) in scan.filters() {
            let unknown = self
                .env
                .empty_state()
                .apply_filter(name, &[])
                .is_err_and(|err| err.kind() == Fault::UnknownFilter);
            if unknown {
                let problem = Diagnostic::error("unknown_filter", format!("no filter `{name}`"));
                problems.push(placed(problem, section.text, offset, section.line, None));
            }
        }
        for (name, offset) in scan.tests() {
            let unknown = self
                .env
                .empty_state()
                .perform_test(name, &[])
                .is_err_and(|err| err.kind() == Fault::UnknownTest);
            if unknown {
                let problem = Diagnostic::error("unknown_test", format!("no test `{name}`"));
                problems.push(placed(problem, section.text, offset, section.line, None));
            }
        }
    }

    fn check_sections(&self, sections: &[Section<'_>], line: u32, problems: &mut Vec<Diagnostic>) {
        let missing = missing_sections(sections.iter().map(|section| section.title));
        if !missing.is_empty() {
            let message = format!("the body has no section {}", missing.join(", "));
            problems.push(Diagnostic::warning("missing_section", message).at(line, 1));
        }
        for (index, section) in sections.iter().enumerate().filter(|(_, section)| !section.title.is_empty()) {
            let same = |other: &&Section<'_>| canonical(other.title) == canonical(section.title);
            if let Some(first) = sections.iter().take(index).find(same) {
                let message = format!("`{}` stands twice, first on line {}", section.title, first.line);
                problems.push(Diagnostic::error("duplicate_section", message).at(section.line, 1));
            }
        }
    }

    /// An input that nothing reads is told, since it was meant for something.
    fn check_inputs(&self, sections: &[Section<'_>], problems: &mut Vec<Diagnostic>) {
        let Some(spec) = self.spec.filter(|spec| spec.format == SkillFormat::Typed) else { return };
        let mut read: HashSet<String> = HashSet::new();
        let sections = (0..sections.len()).map(|index| format!("section {index}"));
        for name in sections.chain(self.included.keys().cloned()) {
            read.extend(self.variables(&name, false));
        }
        for field in spec.inputs.iter().filter(|field| !read.contains(&field.name)) {
            let message = format!("no section reads the input `{}`", field.name);
            problems.push(Diagnostic::warning("unused_input", message).at(1, 1));
        }
    }
}

/// Which of the usual sections are not among these titles.
pub(super) fn missing_sections<'t>(titles: impl Iterator<Item = &'t str>) -> Vec<&'static str> {
    let titles: Vec<String> = titles.map(canonical).collect();
    SECTIONS.into_iter().filter(|name| !titles.contains(&canonical(name))).collect()
}

/// A title by which `Self-correction` and `SELF CORRECTION` are the same.
fn canonical(title: &str) -> String {
    title.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// Whether a path such as `profile.name` leads to a declared input.
fn known(inputs: &[Field], path: &str) -> Result<(), (&'static str, String)> {
    let mut parts = path.split('.');
    let name = parts.next().unwrap_or_default();
    let Some(mut field) = inputs.iter().find(|field| field.name == name) else {
        let known: Vec<&str> = inputs.iter().map(|field| field.name.as_str()).collect();
        let near = match nearest(name, known.iter().copied()).first() {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => "; the skill has none".to_owned(),
            None => format!("; known: {}", known.join(", ")),
        };
        return Err(("undeclared_variable", format!("no input `{name}`{near}")));
    };
    for part in parts {
        let FieldKind::Object { properties } = &field.kind else { return Ok(()) };
        if properties.is_empty() {
            return Ok(());
        }
        match properties.iter().find(|field| field.name == part) {
            Some(found) => field = found,
            // A method of Python's dictionaries, such as `items`, is called on the object itself.
            None if ["items", "keys", "values", "get"].contains(&part) => return Ok(()),
            None => return Err(("undeclared_variable", format!("the input `{name}` has no field `{part}`"))),
        }
    }
    Ok(())
}

/// A problem at an offset of a text that begins on a line of a file.
fn placed(problem: Diagnostic, text: &str, offset: usize, first_line: u32, file: Option<&str>) -> Diagnostic {
    let problem = problem.at_offset(text, offset);
    let (line, column) = (problem.line.saturating_add(first_line).saturating_sub(1), problem.column);
    let problem = problem.at(line, column);
    match file {
        Some(file) => problem.in_file(file),
        None => problem,
    }
}

/// What went wrong while a fixed section was rendered.
fn at_section(err: &crate::Error, line: u32) -> Diagnostic {
    let first = err.cause::<crate::types::Diagnostics>().and_then(|problems| problems.0.first().cloned());
    match first {
        Some(problem) => {
            let at = (problem.line.saturating_add(line).saturating_sub(1), problem.column);
            problem.at(at.0, at.1)
        }
        None => Diagnostic::error("template", err.message()).at(line, 1),
    }
}
