//! Webhooks: hands what is in the outbox to every endpoint that wants it, at least once, signed, and with patience.
//!
//! Events come from [`bot_store::outbox`], where they are written with the change that they tell of; nothing here decides on a bot. The
//! routes are the API's. Nothing is dialled that [`address`] does not allow, and nothing of an answer is kept but its first bytes.
//!
//! The way of an event: the outbox, in one commit to a delivery for each endpoint ([`fan_out`]), tried by whichever replica holds the
//! claim on it ([`deliver`]), again by the [`schedule`], until it was accepted or a day has passed.

pub mod address;
pub mod alert;
pub mod deliver;
pub mod delivery;
pub mod endpoint;
pub mod engine;
pub mod fan_out;
pub mod metrics;
pub mod post;
pub mod safe;
pub mod schedule;
pub mod signature;
pub mod target;
mod tidy;
pub mod trust;

pub use address::Allowed;
pub use engine::{Pace, Webhooks};
pub use safe::Safe;
pub use trust::Authorities;
pub use trust::files::{Believing, Trust};
