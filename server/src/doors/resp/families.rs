//! The commands, one file per family: each has its rows of the table and their handlers.

pub mod bitfield;
pub mod bits;
mod client;
mod commands;
mod config;
pub mod connection;
mod diagnosis;
pub mod dump;
pub mod expire;
mod info;
pub mod keys;
pub mod lcs;
pub mod many;
pub mod node;
pub mod numbers;
pub mod object;
pub mod parts;
pub mod scan;
pub mod server;
pub mod strings;
pub mod transactions;
