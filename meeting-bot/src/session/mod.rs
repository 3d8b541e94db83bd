//! One session: its published state ([`hub`]), the run that takes it from a start request to its end ([`run`]), who was in the call
//! ([`people`], [`journal`]), and what is left for finding out why it failed (`bundle`, redacted by `redact`),
//! and what is done when picture or sound are not what they should be (`remedy` decides, `mend` does).

mod bundle;
pub mod checks;
pub mod hub;
pub mod journal;
mod mend;
pub mod people;
mod redact;
mod remedy;
pub mod run;
mod studio;
