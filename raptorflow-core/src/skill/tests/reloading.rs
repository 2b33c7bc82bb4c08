//! A folder of skills is read again, and a bad file keeps what was good.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    error::ErrorKind,
    skill::{Reload, Skill, SkillRegistry},
    types::Diagnostics,
};

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.path().join(file)).unwrap();
    }
}

fn text(id: &str, needs: &[&str], body: &str) -> String {
    let needs = needs.join(", ");
    format!(
        "---\nskill_id: {id}\nname: N\ndescription: D.\nversion: 1.0.0\ntags: [t]\ndependencies: {{ skills: [{needs}] }}\n\
         ---\n## MISSION\n{body}\n"
    )
}

fn ids(skills: &[Skill]) -> Vec<&str> {
    skills.iter().map(|skill| skill.id().as_str()).collect()
}

fn names(ids: &[crate::skill::SkillId]) -> Vec<&str> {
    ids.iter().map(crate::skill::SkillId::as_str).collect()
}

fn codes(report: &Reload) -> Vec<&str> {
    let errors = report.problems.iter().filter(|problem| problem.code != "missing_section");
    errors.map(|problem| problem.code.as_str()).collect()
}

#[test]
fn skills_are_found_by_id_family_category_tag_and_version() {
    let folder = Folder::new();
    folder.write("a.md", &text("talk.greet.v1", &[], "Old."));
    folder.write("deep/b.md", &text("talk.greet.v2", &[], "New."));
    folder.write("c.md", &text("read.page.v1", &[], "Read."));
    folder.write("README.md", "no skill");
    folder.write("tea/SKILL.md", "---\nname: tea\ndescription: Brews.\n---\nPour.\n");
    folder.write("tea/references/water.md", "no skill");
    let skills = SkillRegistry::load(folder.path()).unwrap();
    assert_eq!(ids(&skills.list()), ["read.page.v1", "talk.greet.v1", "talk.greet.v2", "tea"]);
    assert_eq!(skills.get("talk.greet").unwrap().id().as_str(), "talk.greet.v2");
    assert_eq!(ids(&skills.versions("talk.greet")), ["talk.greet.v1", "talk.greet.v2"]);
    assert_eq!(ids(&skills.by_category("read")), ["read.page.v1"]);
    assert_eq!((skills.by_tag("t").len(), skills.by_tag("x").len(), skills.len()), (3, 0, 4));
    assert_eq!(skills.get("tea").unwrap().resources(), ["references/water.md"]);
    assert_eq!(skills.summaries()[3].description, "Brews.");
    assert_eq!(skills.get("talk.gret.v1").unwrap_err().get("nearest"), Some("talk.greet.v1"));
}

#[test]
fn a_reload_says_what_it_did_and_readers_keep_what_they_took() {
    let folder = Folder::new();
    folder.write("a.md", &text("x.a.v1", &[], "One."));
    folder.write("b.md", &text("x.b.v1", &[], "One."));
    folder.write("c.md", &text("x.c.v1", &[], "One."));
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let taken = skills.get("x.a").unwrap();
    folder.write("a.md", &text("x.a.v1", &[], "Two."));
    folder.write("b.md", "---\nskill_id: x.b.v1\n");
    folder.remove("c.md");
    folder.write("d.md", &text("x.d.v1", &[], "One."));
    let report = skills.reload().unwrap();
    assert_eq!(names(&report.changed), ["x.a.v1"]);
    assert_eq!((names(&report.kept), names(&report.removed)), (vec!["x.b.v1"], vec!["x.c.v1"]));
    assert_eq!((names(&report.added), report.unchanged), (vec!["x.d.v1"], 0));
    assert_eq!(codes(&report), ["open_front_matter"]);
    assert_eq!(
        report.problems.iter().find(|it| it.code == "open_front_matter").unwrap().file.as_deref(),
        Some("b.md")
    );
    let said = |skill: &Skill| skill.render(&json!({})).unwrap()[0].text();
    assert_eq!(
        (said(&taken), said(&skills.get("x.a").unwrap())),
        ("## MISSION\nOne.".into(), "## MISSION\nTwo.".into())
    );
    // Mended, it is new; what did not change is not compiled again and is the same.
    folder.write("b.md", &text("x.b.v1", &[], "Two."));
    let report = skills.reload().unwrap();
    assert_eq!((names(&report.changed), report.unchanged, codes(&report).len()), (vec!["x.b.v1"], 2, 0));
}

#[test]
fn an_included_file_is_part_of_the_version() {
    let folder = Folder::new();
    folder.write("a.md", &text("x.a.v1", &[], "{% include \"parts/_rule.md\" %}"));
    folder.write("parts/_rule.md", "Be kind.");
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let before = skills.get("x.a").unwrap();
    assert!(before.render(&json!({})).unwrap()[0].text().ends_with("Be kind."));
    folder.write("parts/_rule.md", "Be brief.");
    assert_eq!(names(&skills.reload().unwrap().changed), ["x.a.v1"]);
    assert_ne!(skills.get("x.a").unwrap().digest(), before.digest());
    folder.remove("parts/_rule.md");
    let report = skills.reload().unwrap();
    assert_eq!((names(&report.kept), codes(&report)), (vec!["x.a.v1"], vec!["unknown_include"]));
    folder.write("a.md", &text("x.a.v1", &[], "{% include \"../secret.md\" %}{% include part %}"));
    assert_eq!(codes(&skills.reload().unwrap()), ["unknown_include", "computed_include"]);
}

#[test]
fn dependencies_come_first_and_circles_and_gaps_are_refused_by_name() {
    let folder = Folder::new();
    folder.write("a.md", &text("x.a.v1", &["x.b.v1", "x.c.v1"], "A."));
    folder.write("b.md", &text("x.b.v1", &["x.c.v1"], "B."));
    folder.write("c.md", &text("x.c.v1", &[], "C."));
    let skills = SkillRegistry::load(folder.path()).unwrap();
    assert_eq!(ids(&skills.resolve("x.a").unwrap()), ["x.c.v1", "x.b.v1", "x.a.v1"]);
    folder.write("c.md", &text("x.c.v1", &["x.a.v1"], "C."));
    let report = skills.reload().unwrap();
    assert!(codes(&report).contains(&"cyclic_dependency"), "{:?}", report.problems);
    assert!(report.problems.iter().any(|it| it.message.ends_with("x.a.v1 → x.b.v1 → x.c.v1 → x.a.v1")));
    assert_eq!(names(&report.kept), ["x.c.v1"], "the change that closed the circle is not taken");
    assert_eq!(ids(&skills.resolve("x.a").unwrap()).len(), 3);

    let fresh = SkillRegistry::load(folder.path()).unwrap_err();
    assert!(
        fresh
            .cause::<Diagnostics>()
            .unwrap()
            .0
            .iter()
            .any(|it| it.code == "cyclic_dependency" && it.line == 7)
    );
    folder.remove("c.md");
    let report = skills.reload().unwrap();
    assert!(codes(&report).contains(&"unknown_dependency"), "{:?}", report.problems);
    assert!(skills.is_empty(), "what rests on a skill that is gone goes too");
}

#[test]
fn two_files_with_one_id_are_told_and_the_first_counts() {
    let folder = Folder::new();
    folder.write("a.md", &text("x.a.v1", &[], "First."));
    folder.write("b.md", &text("x.a.v1", &[], "Second."));
    let skills = SkillRegistry::open(folder.path()).unwrap();
    assert!(
        skills.diagnostics().iter().any(|it| it.code == "duplicate_id" && it.file.as_deref() == Some("b.md"))
    );
    assert!(skills.get("x.a").unwrap().body().contains("First."));
    assert_eq!(SkillRegistry::load(folder.path()).unwrap_err().kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_skill_that_a_program_added_stays_over_a_reload() {
    let folder = Folder::new();
    let skills = SkillRegistry::load(folder.path()).unwrap();
    let own = Skill::parse(&text("x.own.v1", &[], "Own.")).unwrap();
    skills.insert(own.clone()).unwrap();
    assert_eq!(skills.insert(own).unwrap_err().kind(), ErrorKind::AlreadyExists);
    folder.write("a.md", &text("x.a.v1", &["x.own.v1"], "A."));
    assert_eq!(names(&skills.reload().unwrap().added), ["x.a.v1"]);
    assert_eq!(skills.len(), 2);
    assert_eq!(SkillRegistry::new().reload().unwrap_err().kind(), ErrorKind::Unsupported);
    assert_eq!(SkillRegistry::open("/nowhere/at/all").unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn the_folder_of_an_open_skill_has_its_name() {
    let folder = Folder::new();
    folder.write("coffee/skill.md", "---\nname: tea\ndescription: Brews.\n---\nPour.\n");
    let err = SkillRegistry::load(folder.path()).unwrap_err();
    let problem = &err.cause::<Diagnostics>().unwrap().0[0];
    assert_eq!(
        problem.to_string(),
        "coffee/skill.md:2:1: error[name_folder]: the folder is `coffee`; expected the name of the skill, `tea`"
    );
}
