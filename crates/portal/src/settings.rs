//! What a browser can choose for itself: the time zone.

use askama::Template;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;

use crate::client::segment;
use crate::page::{Frame, show as page_of};
use crate::visit::{Fields, Posted, Visit, done};
use crate::zone::{COOKIE, Zone};

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    frame: Frame,
    zone: String,
    error: &'static str,
}

impl SettingsPage {
    fn zones(&self) -> impl Iterator<Item = &'static str> + use<> {
        Zone::names()
    }
}

/// The form.
pub(crate) async fn show(visit: Visit) -> Response {
    let frame = Frame::new(&visit, "settings", "Settings");
    page_of(&visit, StatusCode::OK, &SettingsPage { frame, zone: visit.zone.name().into(), error: "" })
}

/// Keeps the choice in a cookie. It is no secret, and the script reads it.
pub(crate) async fn save(Posted { visit, fields }: Posted) -> Response {
    let Some(zone) = named(&fields) else {
        let frame = Frame::new(&visit, "settings", "Error: Settings");
        let error = "Choose a time zone of the list, such as Europe/Berlin.";
        return page_of(
            &visit,
            StatusCode::UNPROCESSABLE_ENTITY,
            &SettingsPage { frame, zone: fields.get("zone").into(), error },
        );
    };
    let mut response = done("/portal/settings", "zone");
    let cookie = format!("{COOKIE}={}; Path=/; Max-Age=31536000; SameSite=Strict", segment(zone));
    response.headers_mut().extend(HeaderValue::from_str(&cookie).map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

fn named(fields: &Fields) -> Option<&'static str> {
    Zone::named(fields.get("zone")).map(|tz| tz.name())
}
