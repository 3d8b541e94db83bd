//! Where the controller goes by itself, and whom it believes there.

use std::path::Path;

use secrecy::{ExposeSecret as _, SecretString};

use super::{Needs, Reader};

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    pub(super) fn webhook_allow(&mut self) -> webhooks::Allowed {
        let text = self.text("WEBHOOK_ALLOW").unwrap_or_default();
        webhooks::Allowed::parse(&text).unwrap_or_else(|entry| {
            self.problem("WEBHOOK_ALLOW", entry, webhooks::Allowed::WANTS);
            webhooks::Allowed::default()
        })
    }

    pub(super) fn webhook_safe(&mut self) -> webhooks::Safe {
        let secrets: Vec<SecretString> =
            self.list("WEBHOOK_SECRETS_KEY").unwrap_or_default().into_iter().map(SecretString::from).collect();
        let is_long = |secret: &SecretString| secret.expose_secret().len() >= sealing::SHORTEST_SECRET;
        let safe = if secrets.iter().all(is_long) { webhooks::Safe::new(&secrets).ok() } else { None };
        safe.unwrap_or_else(|| {
            let wants = "keys of at least 32 characters at random, such as openssl rand -hex 32 prints, separated by commas";
            self.problem("WEBHOOK_SECRETS_KEY", "(a short text)", wants);
            webhooks::Safe::default()
        })
    }

    /// What looks into the store alone believes nobody: a spoiled file must not keep it from its work.
    pub(super) fn trust(&mut self, needs: Needs, variable: &'static str) -> webhooks::Trust {
        let Some(file) = self.text(variable).filter(|_| needs == Needs::Everything) else { return webhooks::Trust::default() };
        webhooks::Trust::file(variable, Path::new(&file)).unwrap_or_else(|error| {
            self.problem(variable, format!("{file} ({error})"), webhooks::Authorities::WANTS);
            webhooks::Trust::default()
        })
    }
}
