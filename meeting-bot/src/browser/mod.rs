//! The browser: a real headful Chromium on the bot's own display and sink, spoken to over a pipe.
//!
//! Owns launch, the DevTools protocol and its typed methods. Knows nothing of meeting platforms. No automation
//! switch, no synthetic clicks: input goes through the browser's own input pipeline.

mod console;
mod identity;
mod launch;
mod page;
mod pipe;

pub use identity::{Identity, IdentityError, StorageState, check_profile, copy_profile};
pub use launch::{Browser, BrowserError, LaunchOptions};
pub use page::{Page, Point};
pub use pipe::{CdpError, CdpEvent, CdpPipe};
