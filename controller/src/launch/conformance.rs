//! What every launcher must do, as named checks over [`Launcher`] alone. The suite of each launcher runs them all.
