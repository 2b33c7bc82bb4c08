//! The events and the text of a run, as they come.

use futures_util::StreamExt as _;
use raptorflow_core::{
    Agent, Engine, KnowledgeBase, Result,
    agent::Retrieval,
    rag::{Document, HashingEmbedder},
};

#[tokio::main]
#[expect(clippy::print_stdout, reason = "an example shows its result")]
async fn main() -> Result<()> {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await?;
    kb.add([Document::new(
        "bus.md",
        "Every agent's work shows on the bus. A full subscription says what it missed.",
    )])
    .await?;

    let engine = Engine::builder().default_model("offline:extractive").knowledge(kb).build().await?;
    engine.register(Agent::builder("reader").retrieval(Retrieval::default()).build()?)?;

    // Content is off unless the host asks for it.
    let run = engine.run("reader", "What shows on the bus?").content(true).start().await?;
    let mut events = run.events();
    while let Some(event) = events.next().await {
        let event = event?;
        println!("{:>4}  {:<20} {}", event.sequence, event.kind.name(), event.data);
    }
    println!("{}", events.outcome().await?.text());
    Ok(())
}
