//! Requests to a running controller's API, each with a deadline; a problem is told in its own words.

use std::path::Path;
use std::time::Duration;

use bot_model::configuration::Problem;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use uuid::Uuid;
use webhooks::{Authorities, Believing, Trust};

use super::here::{self, Here};
use crate::cli::CliError;

/// For a whole answer; longer than the server's own deadline.
const ANSWER_WITHIN: Duration = Duration::from_secs(40);
/// For a connection, and for the next bytes of a stream: the feed sends something every 15 s.
const BYTES_WITHIN: Duration = Duration::from_secs(45);
/// What the server takes for a page.
const PAGE: usize = 200;

/// Which API.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ApiArgs {
    /// Address of a controller's API, such as https://recorder.example; what only the API can do asks the one of this machine by the
    /// same settings (API_LISTEN, HTTP_LISTEN) if absent. The key is in API_KEY.
    #[arg(long, env = "API_URL", hide_env_values = true)]
    api: Option<String>,
}

/// A client of one API.
#[derive(Debug)]
pub(in crate::cli) struct Client {
    http: reqwest::Client,
    base: reqwest::Url,
    key: Option<SecretString>,
    /// What an error adds: what was looked at for the address, and for the key.
    tried: [String; 2],
}

impl ApiArgs {
    /// The client, where an API is named.
    pub(in crate::cli) fn named(&self) -> Result<Option<Client>, CliError> {
        let Some(url) = self.api.as_deref().map(str::trim).filter(|url| !url.is_empty()) else { return Ok(None) };
        let wants = || CliError::Usage("--api or API_URL wants an address such as https://recorder.example".into());
        let mut base = reqwest::Url::parse(url).map_err(|_| wants())?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() || !base.username().is_empty() {
            return Err(wants());
        }
        base.set_query(None);
        base.set_fragment(None);
        let key = std::env::var("API_KEY").ok().filter(|key| !key.is_empty()).map(SecretString::from);
        let missing = if key.is_some() { "" } else { "; API_KEY is not set" };
        Ok(Some(Client { http: http(false)?, base, key, tried: [String::new(), missing.to_owned()] }))
    }

    /// The client of the API that is named, or else of the one that runs here.
    pub(in crate::cli) async fn client(&self) -> Result<Client, CliError> {
        if let Some(client) = self.named()? {
            return Ok(client);
        }
        let Here { base, key, address_tried, key_tried } = here::find().await?;
        let mends = "Start `controller run` with the same settings, or name another API: --api https://recorder.example";
        let tried = [
            format!(" at {base}; tried {address_tried}. {mends}"),
            format!("; tried {key_tried}. `controller keys create` makes one"),
        ];
        let base = reqwest::Url::parse(&base).map_err(|_| CliError::Usage(format!("{base} is no address")))?;
        Ok(Client { http: http(true)?, base, key, tried })
    }
}

/// A redirect could lead the key elsewhere, and a proxy has no business with what is on this machine.
fn http(is_here: bool) -> Result<reqwest::Client, CliError> {
    let build = move || {
        let builder = reqwest::Client::builder().connect_timeout(BYTES_WITHIN).read_timeout(BYTES_WITHIN);
        let builder = if is_here { builder.no_proxy() } else { builder };
        builder.redirect(reqwest::redirect::Policy::none())
    };
    let trust = if is_here { Trust::default() } else { trust()? };
    let made = Believing::new(trust, build).map_err(|error| CliError::Failed(error.to_string()))?;
    Ok(made.client())
}

/// Whose certificates are believed besides the system's.
fn trust() -> Result<Trust, CliError> {
    const VARIABLE: &str = "TRUSTED_CA_FILE";
    let Some(file) = std::env::var(VARIABLE).ok().map(|file| file.trim().to_owned()).filter(|file| !file.is_empty()) else {
        return Ok(Trust::default());
    };
    Trust::file(VARIABLE, Path::new(&file)).map_err(|error| {
        let got = format!("{file} ({error})");
        CliError::Configuration(vec![Problem { variable: VARIABLE.into(), got, wants: Authorities::WANTS.into() }])
    })
}

impl Client {
    /// What is at a path of these segments.
    pub(in crate::cli) async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Value, CliError> {
        let request = self.request(Method::GET, path)?.query(query).timeout(ANSWER_WITHIN);
        Self::value(self.sent(request).await?).await
    }

    /// The same as text.
    pub(super) async fn text(&self, path: &[&str], query: &[(&str, String)]) -> Result<String, CliError> {
        let request = self.request(Method::GET, path)?.query(query).timeout(ANSWER_WITHIN);
        self.sent(request).await?.text().await.map_err(|error| unreachable(&error))
    }

    /// Asks for something to be done; a lost answer can be asked for again.
    pub(in crate::cli) async fn post(&self, path: &[&str], body: &Value) -> Result<Value, CliError> {
        let request = self.request(Method::POST, path)?.json(body).timeout(ANSWER_WITHIN);
        let request = request.header("idempotency-key", Uuid::new_v4().to_string());
        Self::value(self.sent(request).await?).await
    }

    /// An answer whose body is read as it comes.
    pub(super) async fn open(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        headers: &[(&'static str, String)],
    ) -> Result<Response, CliError> {
        let request = self.request(Method::GET, path)?.query(query);
        self.sent(headers.iter().fold(request, |request, (name, value)| request.header(*name, value))).await
    }

    /// As many entries as are wanted, over pages.
    pub(in crate::cli) async fn pages(
        &self,
        path: &str,
        key: &str,
        filters: &[(&str, String)],
        most: usize,
    ) -> Result<Vec<Value>, CliError> {
        let path: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let (mut found, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = filters.to_vec();
            query.push(("limit", (most - found.len()).min(PAGE).to_string()));
            query.extend(cursor.map(|cursor| ("cursor", cursor)));
            let mut page = self.get(&path, &query).await?;
            if let Value::Array(entries) = page[key].take() {
                found.extend(entries);
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || found.len() >= most {
                return Ok(found);
            }
        }
    }

    /// An address that may be relative to the API's.
    pub(super) fn absolute(&self, url: &str) -> String {
        self.base.join(url).map_or_else(|_| url.to_owned(), |url| url.to_string())
    }

    fn request(&self, method: Method, path: &[&str]) -> Result<RequestBuilder, CliError> {
        let mut url = self.base.clone();
        // Pushed one by one, so that what an id holds is encoded.
        let pathless = |()| CliError::Usage("--api names no address that has paths".into());
        url.path_segments_mut().map_err(pathless)?.pop_if_empty().extend(path);
        let request = self.http.request(method, url);
        Ok(match &self.key {
            Some(key) => request.bearer_auth(key.expose_secret()),
            None => request,
        })
    }

    async fn sent(&self, request: RequestBuilder) -> Result<Response, CliError> {
        let [address, key] = &self.tried;
        let answer = request.send().await.map_err(|error| unreachable(&error).and(address))?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let problem: Value = answer.json().await.unwrap_or_default();
        let refusal = refused(status, &problem);
        Err(if status == StatusCode::UNAUTHORIZED { refusal.and(key) } else { refusal })
    }

    async fn value(answer: Response) -> Result<Value, CliError> {
        answer
            .json()
            .await
            .map_err(|_| CliError::Unreachable("the answer is no JSON: is this address a controller's API?".into()))
    }
}

pub(super) fn unreachable(error: &reqwest::Error) -> CliError {
    let (mut text, mut source) = (String::new(), std::error::Error::source(error));
    while let Some(inner) = source {
        text = inner.to_string();
        source = inner.source();
    }
    let what = if error.is_timeout() { "no answer in time" } else { "the API cannot be reached" };
    CliError::Unreachable(if text.is_empty() { what.to_owned() } else { format!("{what}: {text}") })
}

fn refused(status: StatusCode, problem: &Value) -> CliError {
    let text = |name: &str| problem[name].as_str().map(super::show::plain).unwrap_or_default();
    let (title, detail) = (text("title"), text("detail"));
    let said = if detail.is_empty() { format!("the API answered {status}") } else { format!("{title}: {detail}") };
    match status.as_u16() {
        401 | 403 => CliError::Denied(said),
        404 => CliError::NotFound(said),
        429 | 500..=599 => CliError::Unreachable(said),
        300..=399 => CliError::Unreachable(format!("the API answered {status}: name the address that it leads to")),
        _ => CliError::Usage(said),
    }
}
