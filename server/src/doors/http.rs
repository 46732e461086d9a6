//! The HTTP door on worker 0: `/health`, `/metrics`, and a page that names them.

use std::{
    sync::{Arc, atomic::Ordering::Acquire},
    time::Duration,
};

use axum::{
    Router,
    extract::State as Extract,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{Html, IntoResponse},
    routing::get,
};

use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{net::TcpListener, sync::Semaphore, time};

use crate::{exposition, limits::HTTP_CONNECTIONS, state::State};

/// How long a client may take to send a request, and an idle connection may stay.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long accepting rests when the process is out of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(100);

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves connections for as long as it is polled. Those beyond [`HTTP_CONNECTIONS`] are closed at once.
pub async fn serve(listener: TcpListener, state: Arc<State>) {
    let service = TowerToHyperService::new(routes(state));
    let places = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
    let mut http1 = http1::Builder::new();
    http1.timer(TokioTimer::new()).header_read_timeout(REQUEST_TIME);
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(%error, "accepting an HTTP connection failed");
                time::sleep(ACCEPT_REST).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let connection = http1.serve_connection(TokioIo::new(stream), service.clone());
        tokio::spawn(async move {
            let _place = place;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "an HTTP connection ended");
            }
        });
    }
}

fn routes(state: Arc<State>) -> Router {
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
