//! `meeting-bot probe`: does the local server answer? For exec probes, since it listens on loopback.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(3);

/// True when `GET /health` answers 200.
pub fn is_healthy(address: SocketAddr) -> bool {
    ask(address).is_ok_and(|status| status)
}

fn ask(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(format!("GET /health HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").as_bytes())?;
    let mut start = [0u8; 12];
    stream.read_exact(&mut start)?;
    Ok(start.ends_with(b" 200"))
}
