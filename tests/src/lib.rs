//! Black-box suites: real binaries, real browser, real ffmpeg, real emulator.
