//! Finds due meetings, claims bot instances, launches and reaps their jobs.
