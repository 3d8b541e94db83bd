//! Who asks, as the API sees it: what a program can show and offer before it tries.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::{Role, Scope, Viewer};

/// Who the key is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Me {
    /// Id of the key, or `local`.
    id: String,
    /// Its name.
    name: String,
    /// What it may do.
    role: Role,
    /// What it sees; empty with `all_organizations`.
    organizations: Vec<String>,
    /// It sees everything.
    all_organizations: bool,
}

/// Read who asks
#[utoipa::path(get, path = "/v1/me", tag = "admin", responses((status = 200, body = Me, description = "The key's name, role and organizations")))]
pub(crate) async fn me(Viewer(who): Viewer) -> Json<Me> {
    let (organizations, all_organizations) = match who.principal.scope {
        Scope::All => (Vec::new(), true),
        Scope::These(names) => (names, false),
    };
    Json(Me { id: who.principal.id, name: who.principal.name, role: who.principal.role, organizations, all_organizations })
}
