//! The commands, one file per family: each has its rows of the table and their handlers.

mod client;
mod commands;
pub mod connection;
pub mod keys;
pub mod server;
pub mod strings;
pub mod transactions;
