//! A raw name reads back as what it prints, and nothing else is one.
#![no_main]

use bot_model::people::Piece;
use bot_model::segment::RawName;

libfuzzer_sys::fuzz_target!(|input: &str| {
    if let Some(name) = RawName::parse(input) {
        assert_eq!(name.path(), input);
        assert_eq!(Piece::parse(input), None);
    }
    if let Some(piece) = Piece::parse(input) {
        assert_eq!(piece.path(), input);
    }
});
