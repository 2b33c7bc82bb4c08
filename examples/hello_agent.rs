//! An engine, one agent, one answer: offline, from a document that is given to it.

use raptorflow_core::{
    Agent, Engine, KnowledgeBase, Result,
    agent::Retrieval,
    rag::{Document, HashingEmbedder},
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
    let text = "A run is a list of facts. Resuming a run reads the list again and repeats nothing.";
    kb.add([Document::new("journal.md", text)]).await?;

    let engine = Engine::builder().default_model("offline:extractive").knowledge(kb).build().await?;
    engine.register(Agent::builder("reader").retrieval(Retrieval::default()).build()?)?;

    let outcome = engine.run("reader", "What happens when a run is resumed?").await?;
    println!("{}", outcome.text());
    Ok(())
}
