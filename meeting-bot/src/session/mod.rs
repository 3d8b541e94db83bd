//! One session: its published state ([`hub`]), and the run that takes it from a start request to its end ([`run`]), and
//! what is done when picture or sound are not what they should be (`remedy` decides, `mend` does).

pub mod checks;
pub mod hub;
mod mend;
mod remedy;
pub mod run;
mod studio;
