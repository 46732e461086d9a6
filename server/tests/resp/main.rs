//! The Redis door from outside: a node in this process and sockets around it.

mod abuse;
mod basics;
mod keys;
mod server;
mod strings;
mod support;
mod transactions;
