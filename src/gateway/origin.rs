//! Which sites may connect. A browser sends the cookies of this host along with the handshake of any site, so the server has
//! to look where it comes from ([RFC 6455, section 10.2](https://www.rfc-editor.org/rfc/rfc6455#section-10.2)).

use axum::http::uri::{Authority, Uri};

/// Scheme, host and port, as they are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    scheme: String,
    /// In lower case.
    host: String,
    port: u16,
}

impl Origin {
    /// `scheme://host` or `scheme://host:port`, as browsers write it. Nothing else: `null`, a path, a user.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if rest.contains(['/', '?', '#', '@']) {
            return None;
        }
        let uri: Uri = text.parse().ok()?;
        Self::of(scheme, uri.authority()?)
    }

    /// What the `Host` header names, reached by this scheme.
    fn of_host(scheme: &str, host: &str) -> Option<Self> {
        Self::of(scheme, &host.parse().ok()?)
    }

    fn of(scheme: &str, authority: &Authority) -> Option<Self> {
        let scheme = scheme.to_ascii_lowercase();
        let usual = match &*scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        // `Authority::port` has none also for one that is no port.
        let port = match authority.as_str().strip_prefix(authority.host())? {
            "" => usual,
            port => port.strip_prefix(':')?.parse().ok()?,
        };
        Some(Self { scheme, host: authority.host().to_ascii_lowercase(), port })
    }
}

/// The origins that may connect.
#[derive(Debug)]
pub(super) struct Origins {
    /// How browsers reach this server: `http`, or `https` if a proxy in front of it does the encryption.
    pub(super) scheme: &'static str,
    pub(super) any: bool,
    /// Besides the server's own.
    pub(super) listed: Vec<Origin>,
    /// Programs send none.
    pub(super) missing: bool,
}

impl Default for Origins {
    fn default() -> Self {
        Self { scheme: "http", any: false, listed: Vec::new(), missing: true }
    }
}

impl Origins {
    pub(super) fn allow(&self, origin: Option<&str>, host: Option<&str>) -> bool {
        let Some(origin) = origin else { return self.missing };
        if self.any {
            return true;
        }
        let Some(origin) = Origin::parse(origin) else { return false };
        let own = host.and_then(|host| Origin::of_host(self.scheme, host));
        own.as_ref() == Some(&origin) || self.listed.contains(&origin)
    }
}

#[cfg(test)]
mod tests {
    use super::{Origin, Origins};

    #[test]
    fn the_same_host_port_and_scheme_is_the_same_origin() {
        let own = Origins::default();
        let https = Origins { scheme: "https", ..Origins::default() };
        // The origin, the host, and whether a server reached by http and one reached by https allow it.
        let table = [
            ("http://host.com", "host.com", true, false),
            ("http://host.com:80", "host.com", true, false),
            ("http://host.com", "host.com:80", true, false),
            ("http://host.com:81", "host.com:81", true, false),
            ("http://host.com:81", "host.com", false, false),
            ("http://host.com", "host.com:81", false, false),
            ("https://host.com", "host.com", false, true),
            ("https://host.com:443", "host.com", false, true),
            ("https://host.com", "host.com:443", false, true),
            ("https://host.com:444", "host.com:443", false, false),
            ("http://HOST.com", "host.COM", true, false),
            ("HTTP://host.com", "host.com", true, false),
            ("http://host.com.evil.com", "host.com", false, false),
            ("http://evil.com", "host.com", false, false),
            ("http://sub.host.com", "host.com", false, false),
            ("http://user@host.com", "host.com", false, false),
            ("http://host.com/path", "host.com", false, false),
            ("http://host.com:", "host.com", false, false),
            ("http://host.com:99999", "host.com:99999", false, false),
            ("http://[::1]:8080", "[::1]:8080", true, false),
            ("ftp://host.com", "host.com", false, false),
            ("null", "host.com", false, false),
            ("", "", false, false),
        ];
        for (origin, host, by_http, by_https) in table {
            assert_eq!(own.allow(Some(origin), Some(host)), by_http, "{origin} at http://{host}");
            assert_eq!(https.allow(Some(origin), Some(host)), by_https, "{origin} at https://{host}");
        }
        assert!(!own.allow(Some("http://host.com"), None));
    }

    #[test]
    fn others_have_to_be_listed() {
        let listed = Origins {
            listed: vec![Origin::parse("https://App.Example:8443").expect("an origin")],
            ..Origins::default()
        };
        for (origin, allowed) in [
            ("https://app.example:8443", true),
            ("https://app.example", false),
            ("http://app.example:8443", false),
            ("http://host.com", true),
        ] {
            assert_eq!(listed.allow(Some(origin), Some("host.com")), allowed, "{origin}");
        }
        let any = Origins { any: true, ..Origins::default() };
        assert!(any.allow(Some("null"), Some("host.com")) && any.allow(Some("http://evil.com"), None));
    }

    #[test]
    fn programs_send_no_origin() {
        assert!(Origins::default().allow(None, Some("host.com")));
        assert!(!Origins { missing: false, ..Origins::default() }.allow(None, Some("host.com")));
    }
}
