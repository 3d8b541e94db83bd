//! Joins one call in a real browser and records it to segments.
