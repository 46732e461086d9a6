//! The Redis door from outside: a node in this process and sockets around it.

mod abuse;
mod basics;
mod server;
mod support;
mod transactions;
