//! One file for each command: its arguments, and what it does.

pub mod config;
pub mod delete;
pub mod doctor;
pub mod exists;
pub mod format;
pub mod get;
pub mod inspect;
pub mod load;
pub mod put;
pub mod scan;
pub mod serve;
pub mod status;
pub mod touch;
pub mod truncate;
