//! One session: its published state ([`hub`]), the run that takes it from a start request to its end ([`run`]), who was in the call
//! ([`people`], [`journal`]), and what is left for finding out why it failed (`bundle`, redacted by `redact`).

mod bundle;
pub mod checks;
pub mod hub;
pub mod journal;
pub mod people;
mod redact;
pub mod run;
mod studio;
