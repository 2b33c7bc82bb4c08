//! Retrieval quality on a small fixed corpus, written for this test.

use raptorflow_core::rag::{Document, HashingEmbedder, KnowledgeBase, Mode};

/// Id and text of each document.
const CORPUS: &[(&str, &str)] = &[
    (
        "tides",
        "The moon pulls on the oceans and raises a bulge of water on the near side and another on the far side. As the Earth turns beneath them, coasts see two high tides a day.",
    ),
    (
        "bread",
        "Yeast eats the sugars of flour and gives off carbon dioxide. Kneading builds a net of gluten that traps the gas, so the dough rises before it is baked.",
    ),
    (
        "bees",
        "A forager that found nectar dances in the dark of the hive. The angle of her waggle run tells the direction to the flowers, its length the distance.",
    ),
    (
        "glass",
        "Sand melts at about 1,700 degrees. Soda lowers the melting point and lime makes the cooled glass durable against water.",
    ),
    (
        "compass",
        "A magnetized needle aligns with the field of the Earth. Iron on board a ship deflects it, so navigators correct the bearing.",
    ),
    (
        "vaccines",
        "A vaccine shows the immune system a harmless piece of a pathogen. Memory cells remain and answer quickly when the real infection comes.",
    ),
    (
        "rainbow",
        "Sunlight is refracted when it enters a raindrop, reflected at the back and refracted again on leaving. Each color leaves at a slightly different angle.",
    ),
    (
        "cement",
        "Limestone and clay are burned in a kiln to clinker. Ground with gypsum, the powder reacts with water and hardens, even under the sea.",
    ),
    (
        "owl",
        "The ears of a barn owl sit at different heights. The difference in loudness and time between them lets the bird strike a mouse in complete darkness.",
    ),
    (
        "lighthouse",
        "Fresnel cut a lens into rings, so that a thin sheet of glass bends a lamp's light into one beam that ships see from afar.",
    ),
    (
        "cheese",
        "Rennet curdles milk by cutting a protein. The curds are pressed, salted and left to ripen, while bacteria and molds give each cheese its taste.",
    ),
    (
        "earthquake",
        "Plates of rock lock along a fault until the strain exceeds their strength. The slip sends out waves that seismographs record all over the world.",
    ),
    (
        "invoice",
        "An invoice names the supplier, the customer, the taxable value and the rate. A supply inside one state carries central and state tax, one between states an integrated tax.",
    ),
    (
        "battery",
        "In a lithium cell ions travel from the anode through the electrolyte to the cathode, while electrons take the way through the circuit. Charging drives both back.",
    ),
    (
        "silk",
        "The silkworm spins a cocoon from one thread of up to a kilometer. Reelers soften the gum in hot water and wind several threads together.",
    ),
    (
        "violin",
        "The bow makes a string stick and slip. The bridge passes the vibration to the body, whose plates radiate the sound into the room.",
    ),
    (
        "coffee",
        "Green beans are roasted until they crack. Grinding exposes the surface, and hot water extracts acids first and bitter compounds last.",
    ),
    (
        "canal",
        "A lock is a chamber with gates at both ends. Boats rise when water flows in from the upper reach and sink when it drains to the lower.",
    ),
    (
        "photosynthesis",
        "Leaves catch light with chlorophyll and split water. The energy binds carbon dioxide into sugar, and oxygen escapes through the pores.",
    ),
    (
        "chess",
        "A fork attacks two pieces at once. The knight does it best, because its jump cannot be answered by the piece that it attacks.",
    ),
];

/// A question and the document that answers it; no question repeats a whole sentence.
const QUESTIONS: &[(&str, &str)] = &[
    ("why does dough rise before baking", "bread"),
    ("how do honey bees tell the direction of flowers", "bees"),
    ("what causes high tides on the coast", "tides"),
    ("why is soda added when sand is melted for glass", "glass"),
    ("what happens to sunlight inside a raindrop", "rainbow"),
    ("how does cement harden under water", "cement"),
    ("how can an owl hunt mice in the dark", "owl"),
    ("who cut lenses into rings for ships' beams", "lighthouse"),
    ("role of rennet in making cheese", "cheese"),
    ("what do seismographs record", "earthquake"),
    ("which tax applies to a supply between two states", "invoice"),
    ("where do ions travel in lithium cells", "battery"),
    ("how long is the thread of a cocoon", "silk"),
    ("which part of a violin radiates sound", "violin"),
    ("what is extracted first from ground coffee", "coffee"),
    ("how do boats rise in a lock", "canal"),
    ("what do leaves do with carbon dioxide", "photosynthesis"),
    ("which chess piece is best at forks", "chess"),
    ("how do vaccines teach the immune system", "vaccines"),
    ("why must navigators correct a compass on iron ships", "compass"),
];

/// The mean reciprocal rank of the right document among the first ten.
async fn mean_reciprocal_rank(mode: Mode) -> f32 {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    kb.add(CORPUS.iter().map(|(id, text)| Document::new(*id, *text))).await.unwrap();
    let mut sum = 0.0;
    for (question, answer) in QUESTIONS {
        let hits = kb.search(*question).mode(mode).await.unwrap();
        let rank = hits.iter().position(|hit| &*hit.document == *answer);
        sum += rank.map_or(0.0, |rank| 1.0 / (rank + 1) as f32);
    }
    sum / QUESTIONS.len() as f32
}

#[tokio::test]
async fn words_find_the_answer_almost_always_first() {
    let quality = mean_reciprocal_rank(Mode::Lexical).await;
    assert!(quality >= 0.95, "{quality}");
}

#[tokio::test]
async fn hashed_vectors_find_the_answer_mostly_first() {
    let quality = mean_reciprocal_rank(Mode::Dense).await;
    assert!(quality >= 0.85, "{quality}");
}

#[tokio::test]
async fn fusion_is_not_worse_than_the_vectors_alone() {
    let (hybrid, dense) = (mean_reciprocal_rank(Mode::Hybrid).await, mean_reciprocal_rank(Mode::Dense).await);
    assert!(hybrid >= dense && hybrid >= 0.9, "{hybrid} {dense}");
}

#[tokio::test]
async fn hashed_vectors_find_a_misspelled_word_that_words_alone_miss() {
    let kb = KnowledgeBase::in_memory(HashingEmbedder::default()).await.unwrap();
    kb.add(CORPUS.iter().map(|(id, text)| Document::new(*id, *text))).await.unwrap();
    let question = "seizmographs";
    assert_eq!(kb.search(question).await.unwrap(), []);
    let hits = kb.search(question).mode(Mode::Dense).k(1).await.unwrap();
    assert_eq!(&*hits[0].document, "earthquake");
}
