//! A meeting platform in a box: replicas of meeting web clients with real WebRTC media and every awkward state on demand.
