//! What zones say of the nodes of the mesh: one zone for a person, many zones for a public page (federation.md 2.12, 2.13).
//!
//! It asks through a [`crate::mesh::Reader`] and writes no file. Nobody here becomes trusted by being listed.

mod feed;
mod graph;
mod look;
mod matrix;
mod page;
mod survey;

pub use feed::feed;
pub use look::{Beat, Unanswered, View, look, zone_of};
pub use matrix::{Check, Witness, matrix};
pub use page::page;
pub use survey::{Edge, Listed, Survey, survey};
