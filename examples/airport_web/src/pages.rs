//! The page's files, which are part of the program. Nothing of it comes from elsewhere, and the browser is told so.

use axum::Router;
use axum::http::HeaderName;
use axum::http::header;
use axum::routing::get;

const HTML: &str = include_str!("../page/index.html");
const STYLE: &str = include_str!("../page/board.css");
const ICON: &str = include_str!("../page/icon.svg");
const SCRIPTS: [(&str, &str); 5] = [
    ("/board.js", include_str!("../page/board.js")),
    ("/rows.js", include_str!("../page/rows.js")),
    ("/flight.js", include_str!("../page/flight.js")),
    ("/bus.js", include_str!("../page/bus.js")),
    ("/tramline.js", include_str!("../../../clients/js/tramline.js")),
];

/// Where the page says which airport comes first.
const FIRST: &str = "data-first=\"JFK\"";
/// Where the page says of which days the flights are.
const PERIOD: &str = "PERIOD";

const POLICY: &str = "default-src 'self'; connect-src 'self' ws:; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HEADERS: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Another version of the program has other files.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The page shows this airport first, unless its address names another.
pub(crate) fn routes(airport: &str, period: &str) -> Router {
    let html = HTML.replace(FIRST, &format!("data-first=\"{airport}\"")).replace(PERIOD, period);
    let file = |kind: &'static str, text: &'static str| get(move || async move { (HEADERS, typed(kind), text) });
    let page = Router::new()
        .route("/", get(move || async move { (HEADERS, typed("text/html; charset=utf-8"), html) }))
        .route("/board.css", file("text/css; charset=utf-8", STYLE))
        .route("/icon.svg", file("image/svg+xml", ICON));
    SCRIPTS.into_iter().fold(page, |page, (path, text)| page.route(path, file("text/javascript; charset=utf-8", text)))
}

fn typed(kind: &'static str) -> [(HeaderName, &'static str); 1] {
    [(header::CONTENT_TYPE, kind)]
}
