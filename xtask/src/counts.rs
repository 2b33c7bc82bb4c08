//! How many tests passed, failed and were left out, read from what the test runners print.

use std::ops::AddAssign;

/// Tests by their end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Whose closing lines to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runner {
    /// libtest and libtest-mimic: every `test result:` line, except those of the tidy binary.
    Cargo,
    /// The same, the tidy binary included.
    Tidy,
    /// The last line of pytest.
    Pytest,
    /// The `# pass`, `# fail` and `# skipped` lines of node's runner.
    Node,
}

impl Runner {
    /// Sums up a whole output.
    pub(crate) fn read(self, output: &str) -> Counts {
        match self {
            Self::Cargo => cargo(output, true),
            Self::Tidy => cargo(output, false),
            Self::Pytest => output.lines().rev().find_map(pytest).unwrap_or_default(),
            Self::Node => node(output),
        }
    }
}

fn cargo(output: &str, leave_tidy_out: bool) -> Counts {
    let mut sum = Counts::default();
    let mut in_tidy = false;
    for line in output.lines().map(str::trim_start) {
        if line.starts_with("Running ") || line.starts_with("Doc-tests ") {
            in_tidy = line.contains("tidy/main.rs");
        } else if let Some(result) = line.strip_prefix("test result:")
            && !(in_tidy && leave_tidy_out)
        {
            sum += Counts {
                passed: number_before(result, "passed"),
                failed: number_before(result, "failed"),
                skipped: number_before(result, "ignored"),
            };
        }
    }
    sum
}

fn pytest(line: &str) -> Option<Counts> {
    let line = line.trim().trim_matches('=').trim();
    let (counted, _) = line.rsplit_once(" in ")?;
    let sum = Counts {
        passed: number_before(counted, "passed") + number_before(counted, "xfailed"),
        failed: number_before(counted, "failed")
            + number_before(counted, "error")
            + number_before(counted, "errors")
            + number_before(counted, "xpassed"),
        skipped: number_before(counted, "skipped"),
    };
    (sum != Counts::default() || counted.contains("no tests ran")).then_some(sum)
}

fn node(output: &str) -> Counts {
    let mut sum = Counts::default();
    for line in output.lines() {
        let Some(line) = line.strip_prefix('#').or_else(|| line.strip_prefix('\u{2139}')) else { continue };
        let mut words = line.split_whitespace();
        let (Some(word), Some(Ok(number)), None) =
            (words.next(), words.next().map(str::parse::<u64>), words.next())
        else {
            continue;
        };
        match word {
            "pass" => sum.passed += number,
            "fail" | "cancelled" => sum.failed += number,
            "skipped" | "todo" => sum.skipped += number,
            _ => {}
        }
    }
    sum
}

/// The number in front of a word, as in `12 passed`.
fn number_before(text: &str, word: &str) -> u64 {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    words
        .iter()
        .zip(words.iter().skip(1))
        .find(|(_, next)| **next == word)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Runner, output: &str, passed: u64, failed: u64, skipped: u64) {
        assert_eq!(runner.read(output), Counts { passed, failed, skipped });
    }

    const CARGO: &str = "\
     Running unittests src/lib.rs (target/debug/deps/raptorflow_core-1)
test result: ok. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
     Running tidy/main.rs (target/debug/deps/tidy-1)
test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
   Doc-tests raptorflow_core
test result: FAILED. 7 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";

    #[test]
    fn cargo_results_are_summed_without_the_tidy_binary() {
        check(Runner::Cargo, CARGO, 12, 2, 1);
    }

    #[test]
    fn the_tidy_stage_counts_its_own_binary() {
        check(Runner::Tidy, CARGO, 24, 2, 1);
    }

    #[test]
    fn pytest_is_read_from_its_last_line() {
        check(Runner::Pytest, "x\n=== 1 failed, 12 passed, 3 skipped, 1 error in 0.52s ===\n", 12, 2, 3);
        check(Runner::Pytest, "...\n12 passed, 1 warning in 0.52s\n", 12, 0, 0);
        check(Runner::Pytest, "no tests ran in 0.01s\n", 0, 0, 0);
    }

    #[test]
    fn node_is_read_from_both_of_its_reporters() {
        check(Runner::Node, "# tests 4\n# pass 3\n# fail 1\n# cancelled 0\n# skipped 2\n# todo 0\n", 3, 1, 2);
        check(Runner::Node, "\u{2139} tests 4\n\u{2139} pass 4\n\u{2139} fail 0\n", 4, 0, 0);
        check(Runner::Node, "# Subtest: pass 3 of them\n", 0, 0, 0);
    }

    #[test]
    fn output_of_a_runner_that_died_counts_nothing() {
        for runner in [Runner::Cargo, Runner::Tidy, Runner::Pytest, Runner::Node] {
            check(runner, "error: could not compile", 0, 0, 0);
        }
    }
}
