//! The edges: bytes in, typed messages out. A gateway keeps no state of the tree and can be replaced at any time.

pub mod doors;
pub mod heart_view;
pub mod open_sockets;
pub mod zmq;
