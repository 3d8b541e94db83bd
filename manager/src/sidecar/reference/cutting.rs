//! The cutter at work beside the call, on a thread that may block.

use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

use super::cutter::{Cut, Cutter};

/// How often the file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// For the last bytes: read from a disk, written to a disk.
const FINISH_WITHIN: Duration = Duration::from_secs(120);
/// Tries of the last look where the disk fails.
const LAST_TRIES: u32 = 5;

/// A cutter that is looking.
#[derive(Debug)]
pub(super) struct Cutting {
    so_far: watch::Receiver<Cut>,
    over: watch::Sender<bool>,
    looking: Option<JoinHandle<()>>,
}

impl Cutting {
    pub(super) fn start(cutter: Cutter) -> Self {
        let (tell, so_far) = watch::channel(Cut::default());
        let (over, is_over) = watch::channel(false);
        Self { so_far, over, looking: Some(tokio::spawn(look(cutter, tell, is_over))) }
    }

    pub(super) fn so_far(&self) -> Cut {
        *self.so_far.borrow()
    }

    /// Cuts everything that is there, and no more after that.
    pub(super) async fn finish(&mut self) {
        let Some(looking) = self.looking.take() else { return };
        let _ = self.over.send(true);
        if tokio::time::timeout(FINISH_WITHIN, looking).await.is_err() {
            tracing::error!("the end of the recording could not be read in time");
        }
    }
}

async fn look(mut cutter: Cutter, tell: watch::Sender<Cut>, mut is_over: watch::Receiver<bool>) {
    let mut last_tries = 0;
    loop {
        let is_last = *is_over.borrow_and_update();
        let looked = spawn_blocking(move || {
            let cut = cutter.look(is_last);
            (cutter, cut)
        });
        // Only a panic ends it otherwise.
        let Ok((back, cut)) = looked.await else { return };
        cutter = back;
        match cut {
            Ok(cut) => {
                let _ = tell.send(cut);
                if is_last {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!(%error, "the recording could not be cut; it is tried again");
                last_tries += u32::from(is_last);
                if last_tries >= LAST_TRIES {
                    return;
                }
            }
        }
        let _ = tokio::time::timeout(LOOK_EVERY, is_over.wait_for(|over| *over && !is_last)).await;
    }
}
