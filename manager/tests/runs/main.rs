//! Whole runs of the manager against a scripted meeting-bot, a SQLite store and a folder as bucket, with segments of a real ffmpeg.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bench;
mod browser;
mod busy;
mod existing;
mod finalize;
mod image;
mod people;
mod pictures;
mod pointers;
mod process;
mod quality;
mod retained;
mod salvage;
mod sidecar;
mod stopped;
mod undrained;
