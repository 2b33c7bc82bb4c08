//! Arguments of function calls (Berkeley leaderboard, Apache-2.0) are judged as by the reference validator.

use libtest_mimic::{Failed, Trial};
use raptorflow_core::{
    runtime::{Context, Runtime},
    tool::{DispatchConfig, FunctionTool, ToolRegistry, dispatch},
    types::{Schema, ToolCall, ToolSpec},
};
use raptorflow_tests::exam;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
struct Case {
    id: String,
    schema: Value,
    arguments: Value,
    valid: bool,
}

pub(crate) fn trial() -> Trial {
    let rows = exam("dev/argument_validation_cases.jsonl");
    let absent = rows.is_none();
    Trial::test("tool::arguments_are_judged_as_by_the_reference_validator", move || {
        check(&rows.unwrap_or_default())
    })
    .with_ignored_flag(absent)
}

fn check(rows: &str) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let ctx = Context::new(&Runtime::current()?);
        let mut wrong = Vec::new();
        let mut count = 0;
        for row in rows.split('\n').filter(|row| !row.is_empty()) {
            let case: Case = serde_json::from_str(row)?;
            count += 1;
            if accepted(&ctx, &case).await? != case.valid {
                wrong.push(case.id);
            }
        }
        if wrong.is_empty() && count > 0 {
            return Ok(());
        }
        Err(format!("{} of {count} differ: {}", wrong.len(), wrong.join(" ")).into())
    })
}

async fn accepted(ctx: &Context, case: &Case) -> raptorflow_core::Result<bool> {
    let mut tools = ToolRegistry::new();
    let spec = ToolSpec::new("tool", "Echoes.", Schema::unchecked(case.schema.clone()));
    tools.register(FunctionTool::new(spec, async |_ctx, arguments| Ok(arguments)))?;
    let call = ToolCall { id: case.id.clone(), name: "tool".into(), arguments: case.arguments.clone() };
    let answer = dispatch(ctx, &tools, &call, &DispatchConfig::default()).await?;
    Ok(!answer.is_error && answer.content == case.arguments)
}
