//! The server: routes, and the rooms that they share.

use std::collections::HashMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use crate::room::Room;
use crate::settings::RoomSettings;
use crate::{control, pages, signal};

/// All rooms of a server.
#[derive(Clone, Default)]
pub(crate) struct Rooms {
    rooms: Arc<Mutex<HashMap<String, Room>>>,
}

impl Rooms {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Room>> {
        // A panic while a room was changed loses nothing that a test could not see.
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on a room that must exist.
    pub(crate) fn with<T>(&self, code: &str, work: impl FnOnce(&mut Room) -> T) -> Option<T> {
        self.lock().get_mut(code).map(work)
    }

    /// Works on a room, opening it with the defaults if need be.
    pub(crate) fn with_or_new<T>(&self, code: &str, work: impl FnOnce(&mut Room) -> T) -> T {
        work(self.lock().entry(code.to_owned()).or_insert_with(|| Room::new(code, RoomSettings::default())))
    }

    pub(crate) fn codes(&self) -> Vec<String> {
        let mut codes: Vec<String> = self.lock().keys().cloned().collect();
        codes.sort();
        codes
    }
}

/// Serves until `stop` resolves.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, stop: impl Future<Output = ()> + Send + 'static) -> std::io::Result<()> {
    let rooms = Rooms::default();
    let app = Router::new()
        .route("/", get(pages::index))
        .route("/rooms/{code}", get(pages::host))
        .route("/{platform}/{code}", get(pages::guest))
        .route("/{platform}/{code}/join", get(pages::join))
        .route("/{platform}/{code}/client", get(pages::client))
        .route("/{platform}/{code}/participant", get(pages::participant))
        .route("/elsewhere", get(pages::elsewhere))
        .route("/unanswered", get(pages::unanswered))
        .route("/signin/{platform}", get(pages::sign_in))
        .route("/recaptcha/api2/anchor", get(pages::captcha))
        .route("/assets/{name}", get(pages::asset))
        .route("/ws/{code}", get(signal::connect))
        .route("/control/rooms/{code}", get(control::show).put(control::configure))
        .route("/control/rooms/{code}/log", get(control::log))
        .route("/control/rooms/{code}/actions", post(control::actions))
        .route("/control/rooms/{code}/end", post(control::end))
        .route("/control/rooms/{code}/admit-all", post(control::admit_all))
        .route("/control/rooms/{code}/participants/{id}/presented", get(control::presented))
        .route("/control/rooms/{code}/participants/{id}/{action}", post(control::act))
        .with_state(rooms);
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}
