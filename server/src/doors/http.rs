//! The HTTP door on worker 0: `/health`, `/metrics`, and a page that names them.

use std::sync::{Arc, atomic::Ordering::Acquire};

use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse},
    routing::get,
};

use crate::{exposition, state::State};

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The door's routes.
pub fn routes(state: Arc<State>) -> Router {
    Router::new()
        .route("/", get(home))
        .route("/health", get(health))
        .route("/metrics", get(metrics))
        .with_state(state)
}

async fn health(Extract(state): Extract<Arc<State>>) -> (StatusCode, &'static str) {
    if state.serving.load(Acquire) {
        (StatusCode::OK, "serving\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping\n")
    }
}

async fn metrics(Extract(state): Extract<Arc<State>>) -> impl IntoResponse {
    match exposition::text(state) {
        Ok(text) => ([(CONTENT_TYPE, METRICS_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn home(Extract(state): Extract<Arc<State>>) -> Html<String> {
    // The configuration allows no character in a name that HTML would read.
    let (name, version) = (&state.name, crate::VERSION);
    Html(format!(
        "<!doctype html><title>Cairn</title><h1>Cairn {version}, node {name}</h1>\
         <p><a href=\"/health\">health</a> <a href=\"/metrics\">metrics</a></p>\n"
    ))
}
