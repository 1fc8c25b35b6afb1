//! What stands between the service and whoever started it: the manager of services that waits for word from it, and the
//! sockets that were opened for it.

pub mod activation;
pub mod notify;
