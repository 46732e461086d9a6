//! The Redis door from outside: a node in this process and sockets around it.

mod basics;
mod keys;
mod support;
mod transactions;
