//! `controller probe`: does the local controller answer? For images' health checks: a minimal image has no curl.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::ExitCode;
use std::time::Duration;

use super::remote::{DEFAULT_LISTEN, reachable};

const DEADLINE: Duration = Duration::from_secs(3);

/// Exit 0 when `GET /healthz` answers 200. Reads `HTTP_LISTEN` alone: a probe must not fail for the settings of others.
pub(super) fn probe() -> ExitCode {
    let listen = std::env::var("HTTP_LISTEN").ok().filter(|text| !text.is_empty());
    let healthy = listen.as_deref().unwrap_or(DEFAULT_LISTEN).parse().is_ok_and(|listen| is_healthy(reachable(listen)));
    if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn is_healthy(address: SocketAddr) -> bool {
    ask(address).is_ok_and(|start| start.ends_with(b" 200"))
}

fn ask(address: SocketAddr) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut start = [0; 12];
    stream.read_exact(&mut start)?;
    Ok(start)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn answering(status: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 16];
            stream.read_exact(&mut request).unwrap();
            assert!(request.starts_with(b"GET /healthz "));
            stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").as_bytes()).unwrap();
        });
        address
    }

    #[test]
    fn only_200_is_healthy() {
        assert!(is_healthy(answering("200 OK")));
        assert!(!is_healthy(answering("503 Service Unavailable")));
    }
}
