//! The commands, one file per family: each has its rows of the table and their handlers.

mod client;
mod commands;
mod config;
pub mod connection;
mod diagnosis;
mod info;
pub mod keys;
pub mod node;
pub mod server;
pub mod strings;
pub mod transactions;
