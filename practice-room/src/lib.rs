//! A meeting platform in a box: a replica of a meeting web client with real WebRTC media, driven over a control API and by
//! hand, and the judge that reads a recording of it back.
//!
//! It serves on loopback and knows nothing of the recorder: to it a bot is a guest like any other.

mod control;
pub mod judge;
mod pages;
pub mod participant;
mod room;
mod server;
mod signal;
pub mod timecode;

pub use room::{LogEntry, PageState, ParticipantState, ParticipantView, Role, RoomSettings, RoomView};
pub use server::serve;
