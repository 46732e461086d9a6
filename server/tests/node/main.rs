//! A node in this process and gRPC clients around it: every call, every limit, starting and stopping.

mod admin;
mod batch;
mod http;
mod limits;
mod pipeline;
mod records;
mod scan;
mod space;
mod start;
mod stop;
mod support;
