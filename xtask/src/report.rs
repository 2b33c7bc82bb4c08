//! Runs steps one after another and tells how they ended: a line each, the counts, one closing line.

use std::{
    fs,
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::{Command, ExitCode, Stdio},
    time::Duration,
};

use crate::{
    counts::{Counts, Runner},
    plan::{self, Group, Profile, Step},
    run, tools,
};

/// What became of one step.
struct Outcome {
    step: Step,
    result: Result<(), String>,
    took: Duration,
    counts: Counts,
    /// Whether another step counts what made this one fail.
    counted_elsewhere: bool,
}

impl Outcome {
    /// The counts, with a failure that no test runner counted as one failed.
    fn honest(&self) -> Counts {
        let mut counts = self.counts;
        if self.result.is_err() && counts.failed == 0 && !self.counted_elsewhere {
            counts.failed = 1;
        }
        counts
    }
}

/// Runs every step of `groups`, also after a failure, and prints the counts.
pub(crate) fn test(root: &Path, groups: &[Group]) -> ExitCode {
    let missing = tools::missing(groups);
    if !missing.is_empty() {
        for line in missing {
            eprintln!("xtask: {line}");
        }
        return ExitCode::from(2);
    }
    let outcomes = all(root, plan::steps(root, groups));
    let mut sum = Counts::default();
    println!();
    for group in groups {
        let of_group: Vec<&Outcome> =
            outcomes.iter().filter(|outcome| outcome.step.group == *group).collect();
        println!("{}", line(*group, &of_group));
        for outcome in of_group {
            sum += outcome.honest();
        }
    }
    println!("\n{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    code(&outcomes)
}

/// Runs steps that are of no group, and says how each ended.
pub(crate) fn run(root: &Path, steps: Vec<Step>) -> ExitCode {
    code(&all(root, steps))
}

/// Builds both bindings into their folders.
pub(crate) fn bindings(root: &Path, profile: Profile) -> ExitCode {
    let missing = tools::missing(&[Group::Python, Group::Node]);
    if !missing.is_empty() {
        for line in missing {
            eprintln!("xtask: {line}");
        }
        return ExitCode::from(2);
    }
    let steps = [plan::python_build(root, profile), plan::node_build(root, profile)].concat();
    code(&all(root, steps))
}

/// Runs the benchmarks with this terminal as theirs.
pub(crate) fn bench(root: &Path, arguments: &[&str]) -> ExitCode {
    let status = Command::new("cargo")
        .args(["bench", "--package", "raptorflow-benches"])
        .args(arguments)
        .current_dir(root)
        .stdin(Stdio::null())
        .status();
    match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(err) => {
            eprintln!("xtask: cannot start cargo: {err}");
            ExitCode::from(2)
        }
    }
}

fn code(outcomes: &[Outcome]) -> ExitCode {
    if outcomes.iter().all(|outcome| outcome.result.is_ok()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn all(root: &Path, steps: Vec<Step>) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = Vec::new();
    for step in steps {
        let broken = outcomes.iter().any(|earlier| {
            earlier.step.group == step.group && earlier.step.needed && earlier.result.is_err()
        });
        let outcome = if broken { left_out(step) } else { one(root, step) };
        outcomes.push(outcome);
    }
    outcomes
}

fn left_out(step: Step) -> Outcome {
    println!("{:<18} not run, since an earlier step failed", step.title());
    Outcome {
        step,
        result: Err("not run".into()),
        took: Duration::ZERO,
        counts: Counts::default(),
        counted_elsewhere: true,
    }
}

fn one(root: &Path, step: Step) -> Outcome {
    let title = step.title();
    if io::stdout().is_terminal() {
        print!("{title:<18} running\r");
        // A terminal that cannot be flushed shows the line later.
        let _ = io::stdout().flush();
    }
    let log = plan::target(root).join("xtask/logs").join(format!("{}-{}.log", step.group.name(), step.name));
    let mut ended = run::run(&step, &log);
    let counts = step.runner.map(|runner| runner.read(&ended.output)).unwrap_or_default();
    // A runner that succeeds without a test has lost its tests.
    if step.runner.is_some() && ended.result.is_ok() && counts == Counts::default() {
        ended.result = Err("ran no test".into());
    }
    match &ended.result {
        Ok(()) => {
            println!("{title:<18} ok      {:>7.1} s", ended.took.as_secs_f64());
            if let Some((path, text)) = &step.stamp {
                // Without its stamp the step runs again next time, which is slower and right.
                let _ = fs::write(path, text);
            }
        }
        Err(problem) => {
            println!("{title:<18} FAILED  {:>7.1} s  {problem}", ended.took.as_secs_f64());
            println!("--- output of {title}, whole in {} ---", log.display());
            for line in ended.output.lines().filter(|line| tells_something(line)) {
                println!("{line}");
            }
            println!("--- end of {title} ---");
        }
    }
    // The tidy binary is a part of `cargo test`, and has a step of its own that counts it.
    let counted_elsewhere = step.runner == Some(Runner::Cargo) && Runner::Tidy.read(&ended.output).failed > 0;
    Outcome { step, result: ended.result, took: ended.took, counts, counted_elsewhere }
}

/// Leaves out what a build says while all goes well.
fn tells_something(line: &str) -> bool {
    const PROGRESS: [&str; 9] = [
        "Compiling ",
        "Checking ",
        "Documenting ",
        "Downloading ",
        "Downloaded ",
        "Locking ",
        "Updating ",
        "Blocking ",
        "Finished ",
    ];
    let progress = PROGRESS.iter().any(|word| line.trim_start().starts_with(word));
    let passed = line.starts_with("test ") && line.ends_with(" ok");
    !(progress || passed)
}

fn line(group: Group, outcomes: &[&Outcome]) -> String {
    let seconds = outcomes.iter().map(|outcome| outcome.took).sum::<Duration>().as_secs_f64();
    let failed: Vec<&str> =
        outcomes.iter().filter(|outcome| outcome.result.is_err()).map(|outcome| outcome.step.name).collect();
    let mut counts = Counts::default();
    for outcome in outcomes {
        counts += outcome.counts;
    }
    let name = format!("{}:", group.name());
    let left_out = if matches!(group, Group::Rust | Group::Tidy) { "ignored" } else { "skipped" };
    let what = if outcomes.is_empty() {
        "absent".to_owned()
    } else if outcomes.iter().any(|outcome| outcome.step.runner.is_some()) {
        format!("{} passed, {} failed, {} {left_out}", counts.passed, counts.failed, counts.skipped)
    } else if failed.is_empty() {
        "ok".to_owned()
    } else {
        "failed".to_owned()
    };
    let where_ =
        if failed.is_empty() { String::new() } else { format!(", failed steps: {}", failed.join(", ")) };
    format!("{name:<10} {what}{where_} ({seconds:.1} s)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(
        name: &'static str,
        result: Result<(), String>,
        runner: Option<Runner>,
        counts: Counts,
    ) -> Outcome {
        let mut step = Step::new(Group::Python, name, Path::new("."), "true", [""; 0]);
        step.runner = runner;
        Outcome { step, result, took: Duration::from_millis(1_500), counts, counted_elsewhere: false }
    }

    #[test]
    fn a_failure_without_a_failed_test_counts_as_one() {
        let broken = outcome("build", Err("ended with 1".into()), None, Counts::default());
        assert_eq!(broken.honest(), Counts { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn what_another_step_counts_is_no_second_failure() {
        let mut unrun = outcome("test", Err("not run".into()), Some(Runner::Pytest), Counts::default());
        unrun.counted_elsewhere = true;
        assert_eq!(unrun.honest(), Counts::default());
    }

    #[test]
    fn a_group_is_one_line_with_its_counts_and_failed_steps() {
        let counts = Counts { passed: 4, failed: 0, skipped: 1 };
        let tests = outcome("test", Ok(()), Some(Runner::Pytest), counts);
        let types = outcome("types", Err("ended with 1".into()), None, Counts::default());
        assert_eq!(
            line(Group::Python, &[&tests, &types]),
            "python:    4 passed, 0 failed, 1 skipped, failed steps: types (3.0 s)"
        );
    }

    #[test]
    fn what_goes_well_is_left_out_of_the_output_of_a_failure() {
        assert!(!tells_something("   Compiling serde v1.0.229"));
        assert!(!tells_something("test runtime::sleeps ... ok"));
        assert!(tells_something("test runtime::sleeps ... FAILED"));
        assert!(tells_something("error[E0432]: unresolved import"));
    }

    #[test]
    fn a_group_without_steps_says_so() {
        assert!(line(Group::Node, &[]).contains("absent"));
    }
}
