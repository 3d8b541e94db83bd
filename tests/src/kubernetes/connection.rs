//! Connections that can be cut, and a listener that can be closed for a while.

use std::future::Future;
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::shared::{Shared, lock};

/// One client connection, as a handler sees it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    cut: CancellationToken,
}

impl Connection {
    /// Ends the connection without another byte.
    pub(crate) fn cut(&self) {
        self.cut.cancel();
    }
}

impl Connected<IncomingStream<'_, Incoming>> for Connection {
    fn connect_info(stream: IncomingStream<'_, Incoming>) -> Self {
        Self { cut: stream.io().cut.clone() }
    }
}

/// Accepts connections that all end when the cluster refuses connections.
pub(crate) struct Incoming {
    pub(crate) listener: TcpListener,
    pub(crate) shared: Arc<Shared>,
}

impl Listener for Incoming {
    type Io = CutStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (CutStream, SocketAddr) {
        let (inner, address) = Listener::accept(&mut self.listener).await;
        let cut = lock(&self.shared.connections).child_token();
        // Small answers must not wait for an acknowledgement.
        let _ = inner.set_nodelay(true);
        (CutStream { inner, cancelled: Box::pin(cut.clone().cancelled_owned()), cut }, address)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A TCP stream that fails once it is cut.
pub(crate) struct CutStream {
    inner: TcpStream,
    cut: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl CutStream {
    fn poll_cut(&mut self, context: &mut Context<'_>) -> Result<()> {
        match self.cancelled.as_mut().poll(context) {
            Poll::Ready(()) => Err(Error::new(ErrorKind::ConnectionReset, "cut on demand")),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &[u8]) -> Poll<Result<usize>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.inner).poll_write(context, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.poll_cut(context)?;
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
