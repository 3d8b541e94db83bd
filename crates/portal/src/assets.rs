//! The embedded files: one style sheet, one script, one icon.

use std::sync::OnceLock;

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

const FILES: [(&str, &str, &str); 3] = [
    ("portal.css", "text/css; charset=utf-8", include_str!("../assets/portal.css")),
    ("portal.js", "text/javascript; charset=utf-8", include_str!("../assets/portal.js")),
    ("icon.svg", "image/svg+xml", include_str!("../assets/icon.svg")),
];

/// Changes whenever a file does: pages name it, so that a browser keeps a file for good.
pub(crate) fn version() -> &'static str {
    static VERSION: OnceLock<String> = OnceLock::new();
    VERSION.get_or_init(|| {
        let hash = FILES.iter().fold(Sha256::new(), |hash, (_, _, text)| hash.chain_update(text));
        HEXLOWER.encode(&hash.finalize()[..6])
    })
}

/// One file.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    match FILES.iter().find(|(known, ..)| *known == name) {
        Some((_, kind, text)) => {
            ([(header::CONTENT_TYPE, *kind), (header::CACHE_CONTROL, "public, max-age=31536000, immutable")], *text)
                .into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
