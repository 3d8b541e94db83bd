//! The same form sent twice: by two presses, by going back, by a browser that gave the first one up. Sent as a browser sends it, without
//! one.

use api::access::Access;
use bot_store::listing::{Listed, Listing};
use bot_store::{DocumentKey, Write};
use chrono::Utc;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use webhooks::delivery::Delivery;
use webhooks::endpoint::Endpoint;

use crate::site::Site;

/// Who fills in forms: a session of its own.
struct Person<'a> {
    site: &'a Site,
    cookie: String,
}

/// A form as a page has it.
#[derive(Debug, Clone)]
struct Form {
    action: String,
    body: String,
}

impl<'a> Person<'a> {
    async fn new(site: &'a Site) -> Self {
        let mut person = Self { site, cookie: String::new() };
        let head = person.page("/portal/settings").await;
        let cookie = head.lines().find_map(|line| line.strip_prefix("set-cookie: ")).expect("a session");
        person.cookie = cookie.split(';').next().unwrap().to_owned();
        person
    }

    async fn begin(&self, method: &str, path: &str, body: &str) -> TcpStream {
        let host = self.site.origin.strip_prefix("http://").unwrap();
        let text = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {}\r\nCookie: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            self.site.origin,
            self.cookie,
            body.len()
        );
        let mut stream = TcpStream::connect(host).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn page(&self, path: &str) -> String {
        let mut answer = String::new();
        self.begin("GET", path, "").await.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        answer
    }

    /// The form of a page that is sent to this address, filled in.
    async fn form(&self, page: &str, action: &str, more: &str) -> Form {
        let text = self.page(page).await;
        let from = if page == action { "<main" } else { action };
        let form = text.split_once(from).unwrap_or_else(|| panic!("no {from}: {text}")).1;
        let form = form.split("</form>").next().unwrap();
        let field = |name: &str| {
            let rest = form.split_once(&format!("name=\"{name}\" value=\""))?.1;
            Some(rest.split('"').next().unwrap().to_owned())
        };
        let [token, once] = ["token", "once"].map(|name| field(name).unwrap_or_else(|| panic!("no {name}: {text}")));
        let etag = field("etag").map(|etag| format!("&etag={}", etag.replace("&quot;", "%22"))).unwrap_or_default();
        Form { action: action.to_owned(), body: format!("token={token}&once={once}{etag}{more}") }
    }

    /// Where it leads.
    async fn send(&self, form: &Form) -> String {
        let mut answer = String::new();
        self.begin("POST", &form.action, &form.body).await.read_to_string(&mut answer).await.unwrap();
        let leads = answer.lines().find_map(|line| line.strip_prefix("location: "));
        leads.unwrap_or_else(|| panic!("{}: {answer}", form.action)).to_owned()
    }

    async fn send_as_every_impatient_person_does(&self, form: &Form) -> String {
        drop(self.begin("POST", &form.action, &form.body).await);
        let (one, two) = tokio::join!(self.send(form), self.send(form));
        assert_eq!(one, two);
        let later = self.send(form).await;
        assert_eq!(one, later);
        later
    }

    /// How often something was done.
    async fn done(&self, action: &str) -> usize {
        let entries = self.site.store.list(&Listing::newest(Listed::Audit), None, 200).await.unwrap().records;
        entries.iter().filter(|entry| entry.fields["action"] == action).count()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_that_is_sent_twice_is_done_once_and_another_one_again() {
    let site = Site::start(Access::DangerOpen).await;
    let outcome = json!({"kind": "lobby_timeout", "attribution": "host", "message": "x"});
    site.bot("waiting", "queued", "Standup", json!({})).await;
    site.bot("lobby", "failed", "Sales sync", json!({"outcome": outcome, "outcome_kind": "lobby_timeout"})).await;
    let person = Person::new(&site).await;

    let call = |code: &str| format!("&when=now&zone=UTC&meeting_url=https%3A%2F%2Fmeet.google.com%2F{code}");
    let form = person.form("/portal/schedule", "/portal/schedule", &call("abc-defg-hij")).await;
    let leads = person.send_as_every_impatient_person_does(&form).await;
    assert!(leads.starts_with("/portal/bots/") && leads.ends_with("did=queued"), "{leads}");
    assert_eq!(person.done("meeting.create").await, 1);
    // Gone back to, and filled in with something else: it is something else.
    let other = Form { body: form.body.replace("abc-defg-hij", "xyz-defg-hij"), ..form };
    assert_ne!(person.send(&other).await, leads);
    assert_eq!(person.done("meeting.create").await, 2);

    let page = "/portal/bots/lobby/retry";
    person.send_as_every_impatient_person_does(&person.form(page, page, "").await).await;
    assert_eq!(person.done("bot.retry").await, 1);

    let page = "/portal/bots/waiting/priority";
    let form = person.form(page, page, "&priority=7").await;
    assert!(form.body.contains("etag="), "{form:?}");
    assert!(person.send_as_every_impatient_person_does(&form).await.ends_with("did=priority"));
    assert_eq!(person.done("bot.prioritize").await, 1);
    let page = "/portal/limits/acme";
    let form = person.form(page, page, "&max_active_bots=3&sure=yes").await;
    assert!(person.send_as_every_impatient_person_does(&form).await.ends_with("did=limits"));
    let page = "/portal/limits/acme/default";
    assert!(person.send_as_every_impatient_person_does(&person.form(page, page, "").await).await.ends_with("did=defaults"));
    for action in ["organization.limits", "organization.limits.delete"] {
        assert_eq!(person.done(action).await, 1, "{action}");
    }

    let url = "https://hooks.example.com/x".to_owned();
    let endpoint = Endpoint::new(url, None, "test", Utc::now()).unwrap();
    assert!(site.store.commit(vec![endpoint.create()]).await.unwrap().is_applied());
    let page = format!("/portal/webhooks/{}", endpoint.id);
    let test = person.form(&page, &format!("{page}/test"), "").await;
    person.send_as_every_impatient_person_does(&test).await;
    assert_eq!(person.done("webhook.test").await, 1);
    let again = person.form(&page, &format!("{page}/test"), "").await;
    person.send(&again).await;
    assert_eq!(person.done("webhook.test").await, 2, "another look at the page is another form");

    let delivered = gives_up(&site).await;
    let replay = async || person.form(&page, &format!("{page}/deliveries/{delivered}/replay"), "").await;
    let form = replay().await;
    assert_eq!(form.body, replay().await.body, "a page that renews itself has news where there are some");
    person.send_as_every_impatient_person_does(&form).await;
    assert_eq!(person.done("webhook.replay").await, 1);
    // It is over again, and the page that was open all the time is used once more; then one that shows that.
    gives_up(&site).await;
    person.send(&form).await;
    assert_eq!(person.done("webhook.replay").await, 1);
    person.send(&replay().await).await;
    assert_eq!(person.done("webhook.replay").await, 2);

    let read = webhooks::endpoint::read(site.store.as_ref(), &endpoint.id).await.unwrap().unwrap();
    let mut off = read.endpoint;
    off.disable(Some("it answered 410 Gone"), Utc::now());
    assert!(site.store.commit(vec![off.update(read.version)]).await.unwrap().is_applied());
    let page = format!("/portal/webhooks/{}/enable", endpoint.id);
    let form = person.form(&page, &page, "").await;
    assert!(person.send_as_every_impatient_person_does(&form).await.ends_with("did=saved"));
    assert_eq!(person.done("webhook.change").await, 1);

    let page = format!("/portal/webhooks/{}/delete", endpoint.id);
    assert!(person.send_as_every_impatient_person_does(&person.form(&page, &page, "").await).await.ends_with("did=deleted"));
    assert_eq!(person.done("webhook.delete").await, 1);
}

/// Ends every delivery that is under way, as a deliverer does that has tried for a day; answers the id of one.
async fn gives_up(site: &Site) -> String {
    let mut id = String::new();
    for pending in site.store.list(&Listing::oldest(Listed::Pending), None, 100).await.unwrap().records {
        let DocumentKey::Pending(of) = &pending.key else { panic!("{:?}", pending.key) };
        id.clone_from(of);
        let record = site.store.read(&DocumentKey::Delivery(of.clone())).await.unwrap().unwrap();
        let (mut delivery, version) = Delivery::of(&record).unwrap();
        delivery.end(Some("a day has passed"), Utc::now());
        let writes = vec![delivery.update(version), Write::delete(pending.key, pending.version)];
        assert!(site.store.commit(writes).await.unwrap().is_applied());
    }
    id
}

#[test]
fn every_form_that_changes_something_is_named() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/templates");
    let mut count = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let (path, text) = file.map(|file| (file.path(), std::fs::read_to_string(file.path()).unwrap())).unwrap();
        for form in text.split("<form").skip(1).map(|rest| rest.split("</form>").next().unwrap()) {
            // Who signs in or out twice is in, or out.
            let is_sign = form.contains("/portal/sign-");
            if form.contains("method=\"post\"") && !is_sign {
                count += 1;
                assert!(form.contains("m::secret(frame)") || form.contains("m::named(frame"), "{}: {form}", path.display());
            }
        }
    }
    assert_eq!(count, 9, "a new form belongs into this test, or is one that it does not see");
}
