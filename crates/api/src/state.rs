//! What the handlers share: the store, the bucket once it is needed, the keys that were just verified, and the feed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bot_model::capacity::Limits;
use bot_model::configuration::QueryMode;
use bot_model::document::{Fields, Meeting};
use bot_model::ids::{InstanceId, MeetingPath};
use bot_model::schedule::StartWindow;
use bot_objects::Objects;
use bot_store::protocol::InstanceRecord;
use bot_store::{DocumentKey, Record, Store, Write, clock};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;

use crate::access::{Access, Principal, Scope};
use crate::feed::Feed;
use crate::forecast::Scheduled;
use crate::hls::Watched;
use crate::kept::Kept;
use crate::keys;
use crate::links::LinkKey;
use crate::logs::RunLogs;
use crate::oidc::{Oidc, OidcSettings};
use crate::problem::{Kind, Problem};
use crate::queue::Pictures;
use crate::rate::{RateSettings, Rates};
use crate::statistics::Statistics;

/// A verified key counts for this long without another look: a revoked one works no longer than that.
pub const KEY_FRESH: Duration = Duration::from_secs(5);
/// Between writes of a key's last use.
const USE_NOTED_EVERY: Duration = Duration::from_secs(60);
/// Keys remembered at most; past it all are forgotten.
const MOST_KEYS: usize = 10_000;

/// What an operator decides.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Whether keys are asked for.
    pub access: Access,
    /// When a meeting is due; the engine's own.
    pub window: StartWindow,
    /// Bots at once.
    pub max_live: usize,
    /// Where the files lie.
    pub recordings_url: String,
    /// Tokens of an issuer, beside keys.
    pub oidc: OidcSettings,
    /// Private authorities that the issuers' servers may have their certificates of.
    pub trust: webhooks::Trust,
    /// How often somebody may ask.
    pub rate: RateSettings,
    /// Origins whose pages may read answers.
    pub cors_origins: Vec<String>,
    /// Signs links to files in a folder; `None` is one at random.
    pub link_secret: Option<SecretString>,
    /// Where webhooks may go besides the public internet.
    pub webhook_allow: webhooks::Allowed,
    /// What seals the secrets of new endpoints.
    pub webhook_safe: webhooks::Safe,
    /// What all replicas together hold to; the engine's own.
    pub limits: Limits,
    /// What 100 of priority are worth in waiting; the engine's own.
    pub ageing: Duration,
    /// For so long statistics that were counted, and meetings that were read for a forecast, are given out again.
    pub statistics_kept: Duration,
}

/// The API over one store.
pub struct Api {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) settings: Settings,
    pub(crate) feed: Feed,
    pub(crate) stop: CancellationToken,
    pub(crate) watched: Watched,
    pub(crate) logs: Option<Arc<dyn RunLogs>>,
    pub(crate) link_key: LinkKey,
    pub(crate) pictures: Pictures,
    pub(crate) counts: Kept<Statistics>,
    pub(crate) scheduled: Kept<Arc<Scheduled>>,
    pub(crate) oidc: Oidc,
    pub(crate) rates: Rates,
    objects: OnceCell<Objects>,
    verified: Mutex<HashMap<String, Verified>>,
}

#[derive(Clone)]
struct Verified {
    record: Option<Record>,
    read_at: Instant,
    noted_at: Option<Instant>,
}

impl Api {
    /// Opens nothing yet. Streams end when `stop` is cancelled.
    pub fn new(store: Arc<dyn Store>, settings: Settings, stop: CancellationToken) -> Arc<Self> {
        Self::with_logs(store, settings, stop, None)
    }

    /// The same where the logs of runs are within reach.
    pub fn with_logs(
        store: Arc<dyn Store>,
        settings: Settings,
        stop: CancellationToken,
        logs: Option<Arc<dyn RunLogs>>,
    ) -> Arc<Self> {
        let link_key = LinkKey::new(settings.link_secret.as_ref().map(|secret| secret.expose_secret()));
        let feed = Feed::new(Arc::clone(&store), stop.clone());
        Arc::new(Self {
            store,
            feed,
            stop,
            watched: Watched::default(),
            logs,
            link_key,
            pictures: Pictures::default(),
            counts: Kept::default(),
            scheduled: Kept::default(),
            oidc: Oidc::new(&settings.oidc, &settings.trust),
            rates: Rates::new(settings.rate),
            settings,
            objects: OnceCell::new(),
            verified: Mutex::default(),
        })
    }

    pub(crate) fn store(&self) -> &dyn Store {
        self.store.as_ref()
    }

    /// The bucket; a controller that cannot read it serves everything else.
    pub(crate) async fn objects(&self) -> Result<&Objects, Problem> {
        Ok(self.objects.get_or_try_init(|| Objects::open(&self.settings.recordings_url)).await?)
    }

    /// Who presents this key, or this token of the configured issuer.
    pub(crate) async fn principal(self: &Arc<Self>, presented: Option<&str>) -> Result<Principal, Problem> {
        if self.settings.access == Access::DangerOpen {
            return Ok(Principal::local());
        }
        let refused = |detail: &str| Problem::new(Kind::Unauthorized, detail);
        let presented =
            presented.ok_or_else(|| refused("send Authorization: Bearer mbk_…; controller keys create makes a key"))?;
        if self.oidc.takes_bearer() && !keys::is_key(presented) {
            return self.oidc.bearer(presented).await;
        }
        let wrong = || refused("this key is unknown, revoked or expired");
        let (id, secret) = keys::parts(presented).ok_or_else(wrong)?;
        let record = self.key_record(id).await?;
        let principal = keys::judge(record.as_ref(), secret, clock::now()).ok_or_else(wrong)?;
        self.note_use(id);
        Ok(principal)
    }

    async fn key_record(&self, id: &str) -> Result<Option<Record>, Problem> {
        if let Some(known) = self.lock().get(id).filter(|known| known.read_at.elapsed() < KEY_FRESH) {
            return Ok(known.record.clone());
        }
        let record = self.store.read(&DocumentKey::ApiKey(id.to_owned())).await?;
        let mut verified = self.lock();
        if verified.len() >= MOST_KEYS {
            verified.clear();
        }
        let noted_at = verified.get(id).and_then(|known| known.noted_at);
        verified.insert(id.to_owned(), Verified { record: record.clone(), read_at: Instant::now(), noted_at });
        Ok(record)
    }

    /// Writes that a key was used, at most once a minute and replica, beside the request.
    fn note_use(self: &Arc<Self>, id: &str) {
        let is_due = self.lock().get_mut(id).is_some_and(|known| {
            let is_due = known.noted_at.is_none_or(|at| at.elapsed() >= USE_NOTED_EVERY);
            if is_due {
                known.noted_at = Some(Instant::now());
            }
            is_due
        });
        if !is_due {
            return;
        }
        let (api, key) = (Arc::clone(self), DocumentKey::ApiKey(id.to_owned()));
        tokio::spawn(async move {
            let mut fields = Fields::new();
            fields.insert("last_used_at".into(), json!(clock::now()));
            if let Err(error) = api.store.commit(vec![Write::merge_existing(key, fields)]).await {
                tracing::debug!(error = error.message, "the last use of a key was not noted");
            }
        });
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Verified>> {
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The path that an id names: a document of the configured collection, or a full path within it.
    pub(crate) fn meeting_path(&self, id: &str) -> Option<MeetingPath> {
        let naming = self.store.naming();
        let collection = &naming.meetings_collection;
        let path = if id.contains('/') { id.to_owned() } else { format!("{collection}/{id}") };
        let path = MeetingPath::parse(&path).filter(|path| path.as_str().split('/').all(is_document_id))?;
        let is_ours = match naming.query_mode {
            QueryMode::Collection => path.as_str() == format!("{collection}/{}", path.document_id()),
            QueryMode::CollectionGroup => path.collection_id() == collection,
        };
        is_ours.then_some(path)
    }

    /// The id of a meeting in this API.
    pub(crate) fn meeting_id(&self, path: &MeetingPath) -> String {
        let plain = format!("{}/{}", self.store.naming().meetings_collection, path.document_id());
        if plain == path.as_str() { path.document_id().to_owned() } else { path.as_str().to_owned() }
    }

    /// A meeting that this scope sees.
    pub(crate) async fn meeting(&self, scope: &Scope, id: &str) -> Result<(MeetingPath, Record), Problem> {
        let missing = || Problem::not_found("meeting");
        let path = self.meeting_path(id).ok_or_else(missing)?;
        let record = self.store.read(&DocumentKey::Meeting(path.clone())).await?.ok_or_else(missing)?;
        if scope.admits(&organization(&record.fields)) { Ok((path, record)) } else { Err(missing()) }
    }

    /// A bot that this scope sees.
    pub(crate) async fn bot(&self, scope: &Scope, id: &str) -> Result<InstanceRecord, Problem> {
        let missing = || Problem::not_found("bot");
        let id = InstanceId::parse(id).filter(|id| is_document_id(id.as_str())).ok_or_else(missing)?;
        let record = self.store.read(&DocumentKey::Instance(id)).await?.ok_or_else(missing)?;
        let found = InstanceRecord::from_record(&record, self.store.naming());
        let unreadable = |error| Problem::new(Kind::Conflict, format!("the bot's document is unusable: {error}"));
        // Whose an unreadable one is cannot be told to somebody confined.
        match found {
            Ok(found) if scope.admits(&found.instance.facts.creator_organization_id) => Ok(found),
            Err(error) if *scope == Scope::All => Err(unreadable(error)),
            _ => Err(missing()),
        }
    }

    /// The bot that serves a meeting.
    pub(crate) async fn bot_of(&self, fields: &Fields) -> Result<Option<InstanceRecord>, Problem> {
        let Some(id) = Meeting::link(fields, self.store.naming()) else { return Ok(None) };
        Ok(InstanceRecord::read(self.store(), &id).await?)
    }
}

/// The tenant of a meeting document, by every name that a backend may use, readable even where the rest is not.
pub(crate) fn organization(fields: &Fields) -> String {
    Meeting::organization(fields)
}

/// What both stores take for a document's id.
fn is_document_id(id: &str) -> bool {
    let is_reserved = id == "." || id == ".." || (id.starts_with("__") && id.ends_with("__"));
    !id.is_empty() && id.len() <= 256 && !is_reserved && !id.chars().any(char::is_control)
}
