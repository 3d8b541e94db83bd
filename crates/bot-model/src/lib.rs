//! The pure domain of the meeting recorder. No I/O, no clock, no randomness: time and identity enter as arguments.
//!
//! What lives here is what more than one process must agree on: the documents and their lifecycle, lease
//! arithmetic, the meeting address, object and job names, the contract between controller, manager and
//! meeting-bot, and the invariants as predicates that tests and production checks share.

pub mod capacity;
pub mod configuration;
pub mod debug_bundle;
pub mod display_name;
pub mod document;
pub mod exit_code;
pub mod fragments;
pub mod hls;
pub mod ids;
pub mod invariants;
pub mod lease;
pub mod lifecycle;
pub mod manifest;
pub mod meeting_url;
pub mod object_prefix;
pub mod other_bots;
pub mod outcome;
pub mod people;
pub mod picture;
pub mod platform;
pub mod process;
pub mod quality;
pub mod schedule;
pub mod scratch;
pub mod segment;
pub mod session;
pub mod timeline;
