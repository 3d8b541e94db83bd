//! Platforms: one engine, and per platform a declarative signal pack.
//!
//! [`pack`] is the data, [`probe`] asks the page which of the pack's signals it shows, [`decide`] turns that into what
//! to do (pure), [`engine`] does the pack's steps, [`press`] does them with real input that reaches its element or nothing.
//! Captchas, sign-in walls and bot walls are recognised and reported, never fought.

pub mod decide;
pub mod engine;
pub mod pack;
pub mod press;
pub mod probe;
