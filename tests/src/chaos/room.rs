//! The room: where scripted bots attend calls. It alone writes who was there, and it notices by the end of a bot's connection, which
//! the kernel closes with the process, that a killed bot is gone.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

use super::truth::{Event, Log};

/// What a bot says: a line of JSON each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub enum Says {
    /// Asks to be let in.
    Join {
        /// The call's own id.
        call: String,
        /// The manager's id of the session: `{instance}-a{attempt}-{run}`.
        session: String,
        /// Its run.
        run: String,
        /// Its process.
        boot: String,
    },
    /// Has closed a segment on its disk.
    Captured {
        /// The part.
        part: u32,
        /// Its number in the part.
        seq: u32,
        /// Of its bytes.
        crc32c: u32,
    },
    /// Leaves.
    Leave,
}

/// What the room answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Let in.
    In,
    /// The host has ended the call.
    Over,
    /// Out.
    Out,
}

/// The calls.
#[derive(Clone)]
pub struct Room {
    log: Arc<Log>,
    calls: Arc<Mutex<BTreeMap<String, Call>>>,
}

struct Call {
    /// The host ends it after so many segments in all: so a call goes on until somebody has recorded it.
    wants: u32,
    captured: u32,
    /// Processes by bot.
    inside: BTreeMap<String, i32>,
    over: watch::Sender<bool>,
}

/// A bot that was let in.
struct Guest {
    call: String,
    bot: String,
    run: String,
    instance: String,
}

impl Room {
    /// Listens on `socket`.
    pub fn open(socket: &Path, log: Arc<Log>) -> Result<Self> {
        let listener = UnixListener::bind(socket).with_context(|| format!("listen on {}", socket.display()))?;
        let room = Self { log, calls: Arc::default() };
        let own = room.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let room = own.clone();
                tokio::spawn(async move {
                    if let Err(error) = room.serve(stream).await {
                        eprintln!("room: {error:#}");
                    }
                });
            }
        });
        Ok(room)
    }

    /// People meet.
    pub fn hold(&self, call: &str, segments: u32) {
        let call_of = Call { wants: segments, captured: 0, inside: BTreeMap::new(), over: watch::channel(false).0 };
        self.lock().insert(call.to_owned(), call_of);
    }

    /// Everybody hangs up.
    pub fn end(&self, call: &str) {
        if let Some(call) = self.lock().get(call) {
            call.over.send_replace(true);
        }
    }

    /// Bots in calls.
    pub fn inside(&self) -> usize {
        self.lock().values().map(|call| call.inside.len()).sum()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Call>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, stream: UnixStream) -> Result<()> {
        let pid = stream.peer_cred()?.pid().context("a bot without a process")?;
        let (hears, mut speaks) = stream.into_split();
        let mut lines = BufReader::new(hears).lines();
        let Some(line) = lines.next_line().await? else { return Ok(()) };
        let Some((guest, mut over)) = self.admit(&serde_json::from_str(&line)?, pid)? else {
            return answer(&mut speaks, Answer::Over).await;
        };
        let left = async {
            answer(&mut speaks, Answer::In).await?;
            let mut is_told = false;
            loop {
                tokio::select! {
                    line = lines.next_line() => match line? {
                        Some(line) if self.hears(&guest, &serde_json::from_str(&line)?)? => return Ok(()),
                        Some(_) => {}
                        None => anyhow::bail!("gone"),
                    },
                    () = is_over(&mut over), if !is_told => {
                        is_told = true;
                        answer(&mut speaks, Answer::Over).await?;
                    }
                }
            }
        }
        .await;
        self.leaves(&guest.call, &guest.bot, left.is_err())?;
        if left.is_ok() {
            // A bot that died in between hears nothing.
            let _ = answer(&mut speaks, Answer::Out).await;
        }
        Ok(())
    }

    fn admit(&self, says: &Says, pid: i32) -> Result<Option<(Guest, watch::Receiver<bool>)>> {
        let Says::Join { call, session, run, boot } = says else { anyhow::bail!("it did not ask to join") };
        let (instance, attempt) = served(session, run).with_context(|| format!("a session named {session}"))?;
        let mut calls = self.lock();
        let Some(held) = calls.get_mut(call).filter(|held| !*held.over.borrow()) else { return Ok(None) };
        // Whoever died before this moment is out, though the end of its connection may not have been read yet.
        let dead: Vec<String> = held.inside.iter().filter(|(_, pid)| !is_alive(**pid)).map(|(bot, _)| bot.clone()).collect();
        for bot in dead {
            held.inside.remove(&bot);
            self.log.write(Event::Left { bot, died: true })?;
        }
        held.inside.insert(boot.clone(), pid);
        let (call, bot, run, instance) = (call.clone(), boot.clone(), run.clone(), instance.to_owned());
        let over = held.over.subscribe();
        let joined =
            Event::Joined { call: call.clone(), bot: bot.clone(), run: run.clone(), instance: instance.clone(), attempt };
        self.log.write(joined)?;
        Ok(Some((Guest { call, bot, run, instance }, over)))
    }

    /// True where the bot leaves.
    fn hears(&self, guest: &Guest, says: &Says) -> Result<bool> {
        match says {
            Says::Join { .. } => anyhow::bail!("a bot joined twice"),
            Says::Leave => return Ok(true),
            Says::Captured { part, seq, crc32c } => {
                let (instance, run) = (guest.instance.clone(), guest.run.clone());
                self.log.write(Event::Captured { instance, run, part: *part, seq: *seq, crc32c: *crc32c })?;
                if let Some(call) = self.lock().get_mut(&guest.call) {
                    call.captured += 1;
                    if call.captured >= call.wants {
                        call.over.send_replace(true);
                    }
                }
            }
        }
        Ok(false)
    }

    fn leaves(&self, call: &str, bot: &str, died: bool) -> Result<()> {
        let mut calls = self.lock();
        match calls.get_mut(call).and_then(|call| call.inside.remove(bot)) {
            Some(_) => self.log.write(Event::Left { bot: bot.to_owned(), died }),
            None => Ok(()),
        }
    }
}

async fn is_over(over: &mut watch::Receiver<bool>) {
    if over.wait_for(|over| *over).await.is_err() {
        std::future::pending().await
    }
}

async fn answer(speaks: &mut OwnedWriteHalf, answer: Answer) -> Result<()> {
    Ok(speaks.write_all((serde_json::to_string(&answer)? + "\n").as_bytes()).await?)
}

/// Instance and attempt of a session's id.
fn served<'a>(session: &'a str, run: &str) -> Option<(&'a str, u32)> {
    let (instance, attempt) = session.split_once(&format!("-{run}"))?.0.rsplit_once("-a")?;
    Some((instance, attempt.parse().ok()?))
}

/// False for a zombie: it holds nothing any more.
pub(super) fn is_alive(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_s_id_names_its_instance_and_attempt() {
        assert_eq!(served("babc-g2-a3-0f12-r1", "0f12"), Some(("babc-g2", 3)));
        assert_eq!(served("babc-a3-0f12", "other"), None);
    }
}
