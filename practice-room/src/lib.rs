//! A meeting platform in a box: replicas of meeting web clients with real WebRTC media, driven over a control API and by
//! hand, and the judge that reads a recording of them back.
//!
//! It serves on loopback and knows nothing of the recorder: to it a bot is a guest like any other. One room may be entered through
//! any platform's client: `/meet/{code}`, `/teams/{code}`, `/zoom/{code}`.

mod action;
mod control;
pub mod judge;
mod log;
mod pages;
pub mod participant;
mod people;
mod room;
mod script;
mod server;
mod settings;
mod signal;
pub mod timecode;

pub use action::Action;
pub use log::{Happening, LogEntry};
pub use room::{ParticipantState, ParticipantView, Role, RoomView};
pub use script::{Since, Step};
pub use server::serve;
pub use settings::{Drift, PageState, Platform, RoomSettings, Trouble};
