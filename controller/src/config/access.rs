//! Who may use the API and the portal: keys or nobody in particular, an issuer of tokens, limits, pages of other origins, and the secrets
//! that sign and seal.

use std::net::SocketAddr;

use api::access::Access;
use api::oidc::{IAP_ISSUER, IAP_KEYS, Issuer, Mapping, OidcSettings, Where, is_trusted};
use api::rate::RateSettings;
use secrecy::SecretString;

use super::{ApiConfig, Reader, is_origin};

impl<L: Fn(&str) -> Option<String>> Reader<'_, L> {
    pub(super) fn api(&mut self, http_listen: SocketAddr) -> ApiConfig {
        let listen = self.text("API_LISTEN").is_some().then(|| self.parsed("API_LISTEN", "an address such as 0.0.0.0:8090"));
        let access: String = self.parsed("API_ACCESS", Access::WANTS);
        let is_reachable = !listen.unwrap_or(http_listen).ip().is_loopback();
        let access = match Access::parse(&access) {
            Some(Access::DangerOpen) if is_reachable => {
                let wants = "keys, as others than this machine can reach the API (API_LISTEN, or else HTTP_LISTEN, is no loopback address)";
                self.problem("API_ACCESS", access, wants);
                Access::Keys
            }
            Some(access) => access,
            None => {
                self.problem("API_ACCESS", access, Access::WANTS);
                Access::Keys
            }
        };
        let link_secret = self.text("API_LINK_SECRET");
        if link_secret.as_ref().is_some_and(|secret| secret.len() < 32) {
            self.problem(
                "API_LINK_SECRET",
                "(a secret)",
                "at least 32 characters at random, such as openssl rand -hex 32 prints",
            );
        }
        let (oidc, rate, cors_origins) = (self.oidc(), self.rate(), self.origins());
        ApiConfig { access, listen, oidc, rate, cors_origins, link_secret: link_secret.map(SecretString::from) }
    }

    pub(super) fn portal_secret(&mut self) -> Option<SecretString> {
        let secret = self.text("PORTAL_SECRET")?;
        if secret.len() < sealing::SHORTEST_SECRET {
            self.problem(
                "PORTAL_SECRET",
                "(a short text)",
                "at least 32 characters that nobody can guess, the same on every replica",
            );
            return None;
        }
        Some(SecretString::from(secret))
    }

    fn oidc(&mut self) -> OidcSettings {
        let bearer = self.bearer_issuer();
        let proxy = self.list("IAP_AUDIENCE").map(|audiences| {
            let keys = self.url("IAP_JWKS_URL").unwrap_or_else(|| IAP_KEYS.to_owned());
            Issuer { name: IAP_ISSUER.to_owned(), audiences, keys: Where::At(keys) }
        });
        let mapping = self.mapping(bearer.is_some() || proxy.is_some());
        OidcSettings { bearer, proxy, mapping }
    }

    fn bearer_issuer(&mut self) -> Option<Issuer> {
        let keys = self.url("OIDC_JWKS_URL").map_or(Where::Discovered, Where::At);
        let audiences = self.list("OIDC_AUDIENCE");
        match (self.url("OIDC_ISSUER"), audiences) {
            (Some(name), Some(audiences)) => Some(Issuer { name, audiences, keys }),
            (None, None) => None,
            (Some(_), None) => {
                self.problem(
                    "OIDC_AUDIENCE",
                    "",
                    "what the issuer's tokens for this API have as aud; a token for another is not taken",
                );
                None
            }
            (None, Some(_)) => {
                self.problem("OIDC_ISSUER", "", "the issuer's address, as OIDC_AUDIENCE is set");
                None
            }
        }
    }

    fn mapping(&mut self, is_needed: bool) -> Mapping {
        let default = Mapping::default();
        let roles = self.text("OIDC_ROLES");
        let parsed = roles.as_deref().map(Mapping::parse_roles);
        if parsed == Some(None) || (parsed.is_none() && is_needed) {
            self.problem("OIDC_ROLES", roles.unwrap_or_default(), Mapping::ROLES_WANT);
        }
        Mapping {
            role_claims: self.list("OIDC_ROLE_CLAIMS").unwrap_or(default.role_claims),
            roles: parsed.flatten().unwrap_or_default(),
            organizations_claim: self.text("OIDC_ORGANIZATIONS_CLAIM").unwrap_or(default.organizations_claim),
        }
    }

    fn rate(&mut self) -> RateSettings {
        let number = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        RateSettings {
            per_key: number(self.number("API_RATE_PER_KEY", 0)),
            per_address: number(self.number("API_RATE_PER_ADDRESS", 0)),
            trusted_proxies: usize::try_from(self.number("API_TRUSTED_PROXIES", 0)).unwrap_or(usize::MAX),
        }
    }

    fn origins(&mut self) -> Vec<String> {
        let origins = self.list("API_CORS_ORIGINS").unwrap_or_default();
        let is_plain = |origin: &&String| is_origin(origin) && !origin.ends_with('/');
        if let Some(wrong) = origins.iter().find(|origin| !is_plain(origin)) {
            self.problem("API_CORS_ORIGINS", wrong.clone(), "origins such as https://app.example, separated by commas");
        }
        origins
    }

    pub(super) fn list(&self, name: &str) -> Option<Vec<String>> {
        let text = self.text(name)?;
        Some(text.split(',').map(|one| one.trim().to_owned()).filter(|one| !one.is_empty()).collect())
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let url = self.text(name)?;
        if !is_trusted(&url) {
            self.problem(name, url, "an https:// address, or http:// on this machine");
            return None;
        }
        Some(url)
    }
}
