//! What the black-box suites and the demo share: real processes, a practice room, a whole stack on one machine.
//!
//! Nothing here replaces a part of the product: it starts the real binaries and asks them what they did.

pub mod bot;
pub mod canary;
pub mod chaos;
pub mod chromium;
pub mod cluster_suite;
pub mod contact_sheet;
pub mod durability;
pub mod endurance;
pub mod gcs;
pub mod kubernetes;
pub mod local_kubelet;
pub mod mortal;
pub mod process;
pub mod reference;
pub mod room;
pub mod run;
pub mod scripted_bot;
pub mod sim;
pub mod stack;
pub mod usage;
