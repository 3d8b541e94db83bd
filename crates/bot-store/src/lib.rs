//! The Store port with its Firestore and SQLite adapters, and the conformance suite that both pass.
