//! Cases that every vector index must pass.

mod contract;
mod recall;
mod subject;

pub use contract::vector_cases;
pub use subject::VectorSubject;
