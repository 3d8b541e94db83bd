//! Steers one recording: run lease, join, spool, finalize, upload, verify, report.
