//! One session: its published state ([`hub`]), and the run that takes it from a start request to its end ([`run`]).

pub mod checks;
pub mod hub;
pub mod run;
mod studio;
