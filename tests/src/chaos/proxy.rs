//! A TCP proxy that breaks connections as networks do, switched while it runs.
//!
//! It knows nothing of what it carries. What it holds back it delivers later, as TCP does; what it cuts is reset.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// What becomes of what passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It passes.
    Open,
    /// Every chunk is late by this much.
    Latency(Duration),
    /// Every connection is reset now, and each new one with its first bytes.
    Reset,
    /// Connections stand and are made, and nothing passes; a peer cannot tell.
    HalfOpen,
    /// So many bytes a second each way, on each connection.
    Bandwidth(u64),
    /// Of every answer so many bytes pass; then the connection is reset.
    CutAfter(u64),
    /// Nobody listens, and every connection is reset.
    Refused,
}

/// The connection is to be reset.
struct Cut;

/// A running proxy. It ends with the runtime.
#[derive(Clone)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    mode: watch::Sender<Mode>,
    broken: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port of loopback for connections to `upstream`, which is asked for at each connection.
    pub async fn start(upstream: watch::Receiver<Option<SocketAddr>>) -> std::io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let proxy =
            Self { address: listener.local_addr()?, mode: watch::channel(Mode::Open).0, broken: Arc::new(AtomicU64::new(0)) };
        tokio::spawn(proxy.clone().listen(listener, upstream));
        Ok(proxy)
    }

    /// Another mode from now on.
    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Connections that were reset, cut or held up so far.
    pub fn broken(&self) -> u64 {
        self.broken.load(Ordering::Relaxed)
    }

    async fn listen(self, first: TcpListener, upstream: watch::Receiver<Option<SocketAddr>>) {
        let (mut listener, mut mode) = (Some(first), self.mode.subscribe());
        loop {
            let is_refused = *mode.borrow_and_update() == Mode::Refused;
            if is_refused {
                listener = None;
            } else if listener.is_none() {
                match TcpListener::bind(self.address).await {
                    Ok(bound) => listener = Some(bound),
                    Err(_) => {
                        sleep(Duration::from_millis(20)).await;
                        continue;
                    }
                }
            }
            let accepted = async {
                match &listener {
                    Some(listener) => listener.accept().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                changed = mode.changed() => if changed.is_err() { return },
                accepted = accepted => if let Ok((stream, _)) = accepted {
                    let to = *upstream.borrow();
                    tokio::spawn(self.clone().carry(stream, to));
                }
            }
        }
    }

    async fn carry(self, mut client: TcpStream, to: Option<SocketAddr>) {
        let connecting = async { TcpStream::connect(to.ok_or(std::io::ErrorKind::NotConnected)?).await };
        let Ok(Ok(mut server)) = timeout(Duration::from_secs(5), connecting).await else { return };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let carried = {
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
            // One direction may end in order while the other goes on; a cut ends both.
            tokio::try_join!(
                self.pump(&mut from_client, &mut to_server, false),
                self.pump(&mut from_server, &mut to_client, true)
            )
        };
        if carried.is_err() {
            self.broken.fetch_add(1, Ordering::Relaxed);
            // Both sockets are closed by a reset: nothing of them is delivered any more.
            let _ = (client.set_zero_linger(), server.set_zero_linger());
        }
    }

    /// Carries one direction to its end.
    async fn pump(&self, from: &mut ReadHalf<'_>, to: &mut WriteHalf<'_>, is_answer: bool) -> Result<(), Cut> {
        let mut mode = self.mode.subscribe();
        let mut chunk = vec![0; 16 * 1024];
        let mut passed = 0_u64;
        loop {
            let count = tokio::select! {
                biased;
                () = is_to_end(&mut mode) => return Err(Cut),
                count = from.read(&mut chunk) => count.unwrap_or_default(),
            };
            let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else {
                let _ = to.shutdown().await;
                return Ok(());
            };
            let now = *mode.borrow();
            let passes = match now {
                Mode::CutAfter(limit) if is_answer => usize::try_from(limit.saturating_sub(passed)).unwrap_or(usize::MAX),
                _ => usize::MAX,
            };
            // What passed before does not count.
            passed = if matches!(now, Mode::CutAfter(_)) { passed + count as u64 } else { 0 };
            self.held_up(&mut mode, count).await?;
            if to.write_all(bytes.get(..passes).unwrap_or(bytes)).await.is_err() {
                return Ok(());
            }
            if passes < count {
                return Err(Cut);
            }
        }
    }

    /// Waits as the mode wants it; an error where the connection is to be reset meanwhile.
    async fn held_up(&self, mode: &mut watch::Receiver<Mode>, bytes: usize) -> Result<(), Cut> {
        let now = *mode.borrow();
        match now {
            Mode::Latency(late) => sleep(late).await,
            Mode::Bandwidth(a_second) => sleep(Duration::from_secs_f64(bytes as f64 / a_second.max(1) as f64)).await,
            Mode::HalfOpen => {
                self.broken.fetch_add(1, Ordering::Relaxed);
                let _ = mode.wait_for(|mode| *mode != Mode::HalfOpen).await;
            }
            _ => return Ok(()),
        }
        if matches!(*mode.borrow(), Mode::Reset | Mode::Refused) { Err(Cut) } else { Ok(()) }
    }
}

/// Answers once connections are to be reset.
async fn is_to_end(mode: &mut watch::Receiver<Mode>) {
    if mode.wait_for(|mode| matches!(mode, Mode::Reset | Mode::Refused)).await.is_err() {
        std::future::pending().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::time::Instant;

    /// Says what it hears; the second answer to anything is long.
    async fn echo() -> (Proxy, watch::Sender<Option<SocketAddr>>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tell, upstream) = watch::channel(Some(listener.local_addr().unwrap()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let (mut from, mut to) = stream.into_split();
                    tokio::io::copy(&mut from, &mut to).await
                });
            }
        });
        (Proxy::start(upstream).await.unwrap(), tell)
    }

    async fn told(stream: &mut TcpStream, text: &[u8], within: Duration) -> std::io::Result<Vec<u8>> {
        stream.write_all(text).await?;
        let mut heard = vec![0; text.len()];
        match timeout(within, stream.read_exact(&mut heard)).await {
            Ok(read) => read.map(|_| heard),
            Err(_) => Err(ErrorKind::TimedOut.into()),
        }
    }

    const SOON: Duration = Duration::from_secs(5);
    const BRIEF: Duration = Duration::from_millis(200);

    #[tokio::test]
    async fn what_is_late_or_held_back_comes_in_the_end() {
        let (proxy, _upstream) = echo().await;
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        assert_eq!(told(&mut stream, b"one", SOON).await.unwrap(), b"one");
        proxy.set(Mode::Latency(BRIEF));
        let begun = Instant::now();
        assert_eq!(told(&mut stream, b"two", SOON).await.unwrap(), b"two");
        assert!(begun.elapsed() >= 2 * BRIEF, "late each way");
        proxy.set(Mode::HalfOpen);
        assert_eq!(told(&mut stream, b"six", BRIEF).await.unwrap_err().kind(), ErrorKind::TimedOut);
        proxy.set(Mode::Open);
        let mut heard = [0; 3];
        timeout(SOON, stream.read_exact(&mut heard)).await.unwrap().unwrap();
        assert_eq!(&heard, b"six");
    }

    #[tokio::test]
    async fn a_slow_line_carries_so_many_bytes_a_second() {
        let (proxy, _upstream) = echo().await;
        proxy.set(Mode::Bandwidth(1_000));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        let begun = Instant::now();
        told(&mut stream, &[7; 200], SOON).await.unwrap();
        assert!(begun.elapsed() >= Duration::from_millis(350), "{:?}", begun.elapsed());
    }

    #[tokio::test]
    async fn a_reset_ends_old_and_new_connections() {
        let (proxy, _upstream) = echo().await;
        let mut old = TcpStream::connect(proxy.address).await.unwrap();
        told(&mut old, b"one", SOON).await.unwrap();
        proxy.set(Mode::Reset);
        assert_eq!(old.read(&mut [0]).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let mut new = TcpStream::connect(proxy.address).await.unwrap();
        assert!(told(&mut new, b"two", SOON).await.is_err());
        assert!(proxy.broken() >= 2);
    }

    #[tokio::test]
    async fn an_answer_is_cut_where_it_was_told_to_be() {
        let (proxy, _upstream) = echo().await;
        proxy.set(Mode::CutAfter(5));
        let mut stream = TcpStream::connect(proxy.address).await.unwrap();
        stream.write_all(b"0123456789").await.unwrap();
        let mut heard = Vec::new();
        let _ = timeout(SOON, stream.read_to_end(&mut heard)).await.unwrap();
        assert!(heard.len() <= 5 && b"01234".starts_with(&heard[..]), "{heard:?}");
    }

    #[tokio::test]
    async fn refused_is_refused_and_back_on_the_same_port() {
        let (proxy, _upstream) = echo().await;
        let mut old = TcpStream::connect(proxy.address).await.unwrap();
        told(&mut old, b"one", SOON).await.unwrap();
        proxy.set(Mode::Refused);
        assert!(matches!(old.read(&mut [0]).await, Err(_) | Ok(0)));
        assert_eq!(TcpStream::connect(proxy.address).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        proxy.set(Mode::Open);
        let begun = Instant::now();
        let mut new = loop {
            match TcpStream::connect(proxy.address).await {
                Ok(stream) => break stream,
                Err(_) => assert!(begun.elapsed() < SOON),
            }
        };
        assert_eq!(told(&mut new, b"two", SOON).await.unwrap(), b"two");
    }
}
