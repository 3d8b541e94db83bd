//! Joins one call in a real browser and records it to segments.
//!
//! One process, one session. [`serve`] answers the HTTP contract of [`bot_model::session`]; [`session`] brings up a
//! display, a sink and a browser of its own, drives the platform's page by a signal pack ([`platform`]) and records
//! ([`capture`]). What it must not do: upload, finalize, or know of stores; that is the manager's.

pub mod args;
pub mod browser;
pub mod capture;
pub mod children;
pub mod config;
pub mod display;
pub mod doctor;
pub mod http;
pub mod legacy;
pub mod lifeline;
pub mod platform;
pub mod probe;
pub mod rehearsal;
pub mod scratch;
pub mod serve;
pub mod session;
pub mod sink;
