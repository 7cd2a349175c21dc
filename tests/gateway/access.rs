//! Who may come in, and who may do what.

use serde_json::{Value, json};
use tramline::gateway::{Action, Decision, Limits, Refusal};

use crate::client::{Client, Server, run, until};

#[test]
fn b05_a_topic_that_no_pattern_allows_is_refused() {
    run(|| async {
        let server = Server::<Value>::start(|builder| builder).await;
        let everything = server.bus.subscribe(">").expect("it is open");
        let mut client = server.client().await;
        for command in [
            json!({"type": "pub", "topic": "a", "payload": 1}),
            json!({"type": "req", "topic": "a", "payload": 1}),
            json!({"type": "sub", "pattern": "a"}),
            json!({"type": "sub", "pattern": "a", "group": "g"}),
        ] {
            let answer = client.ask(command).await;
            assert_eq!((&answer["code"], &answer["temporary"]), (&json!("denied"), &json!(false)));
        }
        assert!(everything.is_empty());
        assert_eq!(server.bus.stats().subscriptions.len(), 1);
    });
}

#[test]
fn b05_each_allow_list_applies_to_its_own_commands() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            builder.allow_publish("pub.*").allow_subscribe("sub.*").allow_request("req.*")
        })
        .await;
        let _responder = server.bus.serve("req.*", |_| Value::Null).expect("it is open");
        let mut client = server.client().await;
        for (name, allowed) in [("pub", "pub"), ("sub", "sub"), ("req", "req")] {
            for kind in ["pub", "sub", "req"] {
                let topic = format!("{name}.x");
                let command = json!({"type": kind, "topic": topic, "pattern": topic, "payload": 1});
                let expected = if kind == allowed { "ok" } else { "denied" };
                assert_eq!(client.code(command).await, expected, "{kind} on {topic}");
            }
        }
    });
}

#[test]
fn b06_a_pattern_must_be_within_an_allowed_one() {
    run(|| async {
        let server = Server::<Value>::start(|builder| builder.allow_subscribe("chat.*").allow_subscribe("a.*.c")).await;
        let mut client = server.client().await;
        for (pattern, expected) in [
            ("chat.lobby", "ok"),
            ("chat.*", "ok"),
            ("a.b.c", "ok"),
            ("a.*.c", "ok"),
            ("chat.>", "denied"),
            ("chat.*.*", "denied"),
            (">", "denied"),
            ("*.*", "denied"),
            ("*.lobby", "denied"),
            ("a.*.*", "denied"),
            ("a.>", "denied"),
            ("chat", "denied"),
        ] {
            assert_eq!(client.code(json!({"type": "sub", "pattern": pattern})).await, expected, "{pattern}");
        }
    });
}

#[test]
fn b05_the_hook_decides_on_commands_that_the_lists_allow() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            builder
                .allow_publish("a.*")
                .allow_subscribe("a.>")
                .allow_group("a.>")
                .authenticate(|handshake| Ok(handshake.cookie("user").map(str::to_owned)))
                .authorize(|session, action| match action {
                    Action::Publish { topic, .. } if topic.as_str() == "a.panic" => panic!("a hook panics"),
                    Action::Publish { .. } if session.user() == Some("ann") => Decision::Allow,
                    Action::Subscribe { pattern, group, .. } if pattern.is_literal() && *group != Some("spies") => {
                        Decision::Allow
                    }
                    _ => Decision::Deny,
                })
        })
        .await;
        let mut ann = Client::open(server.address, &[("cookie", "x=1; user=ann; y=2")]).await.expect("it is let in");
        let mut guest = server.client().await;
        ann.connect(None).await;
        let publish = |topic: &str| json!({"type": "pub", "topic": topic, "payload": 1});
        assert_eq!(ann.code(publish("a.b")).await, "ok");
        assert_eq!(guest.code(publish("a.b")).await, "denied");
        // A hook that panics has not allowed it; a list that does not is not asked for its opinion again.
        assert_eq!(ann.code(publish("a.panic")).await, "denied");
        assert_eq!(ann.code(publish("b.c")).await, "denied");
        assert_eq!(guest.code(json!({"type": "sub", "pattern": "a.b"})).await, "ok");
        assert_eq!(guest.code(json!({"type": "sub", "pattern": "a.*"})).await, "denied");
        assert_eq!(guest.code(json!({"type": "sub", "pattern": "a.b", "group": "spies"})).await, "denied");
    });
}

#[test]
fn b14_pages_of_other_sites_are_refused() {
    run(|| async {
        let server = Server::<Value>::start(|builder| builder.allow_origin("https://app.example")).await;
        let own = format!("http://{}", server.address);
        let upper = format!("http://LOCALHOST:{}", server.address.port());
        let local = format!("localhost:{}", server.address.port());
        let other_port = format!("http://127.0.0.1:{}", server.address.port() ^ 1);
        let https = format!("https://{}", server.address);
        for (origin, expected) in [
            (&*own, 101),
            ("https://app.example", 101),
            ("https://APP.example:443", 101),
            ("https://app.example:8443", 403),
            ("http://app.example", 403),
            (&*other_port, 403),
            (&*https, 403),
            ("http://127.0.0.1", 403),
            ("null", 403),
            ("", 403),
        ] {
            assert_eq!(server.status(&[("origin", origin)]).await, expected, "{origin}");
        }
        assert_eq!(server.status(&[("origin", &*upper), ("host", &*local)]).await, 101);
        assert_eq!(server.status(&[]).await, 101);

        let strict = Server::<Value>::start(|builder| builder.require_origin()).await;
        assert_eq!(strict.status(&[]).await, 403);
        let open = Server::<Value>::start(|builder| builder.allow_any_origin()).await;
        assert_eq!(open.status(&[("origin", "http://evil.example")]).await, 101);
        let proxied = Server::<Value>::start(|builder| builder.behind_https()).await;
        for (origin, expected) in [("https://site.example", 101), ("http://site.example", 403)] {
            assert_eq!(proxied.status(&[("origin", origin), ("host", "site.example")]).await, expected, "{origin}");
        }
    });
}

#[test]
fn b14_a_hook_sees_the_handshake_and_refuses() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            builder.authenticate(|handshake| {
                assert!(handshake.address().is_some_and(|address| address.ip().is_loopback()));
                assert_eq!(handshake.uri().path(), "/");
                let name = handshake.headers().get("x-name").and_then(|name| name.to_str().ok());
                match name {
                    None => Err(Refusal::Unauthorized),
                    Some("eve") => Err(Refusal::Forbidden),
                    Some("bot") => Err(Refusal::TooManyRequests),
                    Some("oops") => panic!("a hook panics"),
                    Some(name) => Ok(Some(name.to_owned())),
                }
            })
        })
        .await;
        for (name, expected) in [("ann", 101), ("eve", 403), ("bot", 429), ("oops", 500)] {
            assert_eq!(server.status(&[("x-name", name)]).await, expected, "{name}");
        }
        assert_eq!(server.status(&[]).await, 401);
        // Who was refused takes no place.
        until(|| server.gateway.stats().connections == 0).await;
    });
}

#[test]
fn b27_a_token_that_is_refused_closes_with_3500() {
    run(|| async {
        let server = Server::<Value>::start(|builder| {
            builder
                .allow_publish(">")
                .token(|_, token| match token {
                    Some("s3cret") => Ok(Some("ann".to_owned())),
                    Some("guest") => Ok(None),
                    Some("oops") => panic!("a hook panics"),
                    _ => Err(Refusal::Unauthorized),
                })
                .authorize(|session, _| if session.user().is_some() { Decision::Allow } else { Decision::Deny })
        })
        .await;
        for token in [json!("wrong"), json!(null), json!("oops")] {
            let mut client = server.stranger().await;
            assert_eq!(client.code(json!({"type": "connect", "token": token})).await, "unauthorized");
            assert_eq!(client.close_code().await, 3500);
        }
        for (token, expected) in [("s3cret", "ok"), ("guest", "denied")] {
            let mut client = server.stranger().await;
            client.connect(Some(token)).await;
            assert_eq!(client.code(json!({"type": "pub", "topic": "a", "payload": 1})).await, expected, "{token}");
        }
    });
}

#[test]
fn b07_the_subscriptions_of_a_connection_are_limited() {
    run(|| async {
        let server = Server::<Value>::start(|builder| builder.allow_subscribe(">")).await;
        let mut client = server.client().await;
        for n in 0..128 {
            client.subscribe(&format!("a.{n}")).await;
        }
        let one_more = json!({"type": "sub", "pattern": "a.128"});
        let answer = client.ask(one_more.clone()).await;
        assert_eq!((&answer["code"], &answer["temporary"]), (&json!("too_many_subscriptions"), &json!(true)));
        assert_eq!(server.gateway.stats().subscriptions, 128);
        assert_eq!(client.code(json!({"type": "unsub", "pattern": "a.7"})).await, "ok");
        assert_eq!(client.code(one_more).await, "ok");
    });
}

#[test]
fn b14_the_number_of_connections_is_limited() {
    run(|| async {
        let limits = |connections, connections_per_address| {
            Limits::default().connections(connections).connections_per_address(connections_per_address)
        };
        let full = Server::<Value>::start(|builder| builder.limits(limits(2, 100))).await;
        let (one, _two) = (full.client().await, full.client().await);
        assert_eq!(full.status(&[]).await, 503);
        one.leave().await;
        until(|| full.gateway.stats().connections == 1).await;
        assert_eq!(full.status(&[]).await, 101);

        let crowded = Server::<Value>::start(|builder| builder.limits(limits(100, 2))).await;
        let (one, _two) = (crowded.client().await, crowded.client().await);
        assert_eq!(crowded.status(&[]).await, 429);
        one.reset();
        until(|| crowded.gateway.stats().connections == 1).await;
        assert_eq!(crowded.status(&[]).await, 101);
    });
}

#[test]
fn b06_a_group_needs_a_permission_of_its_own() {
    run(|| async {
        let server =
            Server::<Value>::start(|builder| builder.allow_subscribe("jobs.>").allow_group("jobs.mail.*")).await;
        let mut client = server.client().await;
        for (pattern, group, expected) in [
            ("jobs.mail.new", json!(null), "ok"),
            ("jobs.mail.new", json!("workers"), "ok"),
            ("jobs.print.new", json!("workers"), "denied"),
            ("jobs.>", json!("workers"), "denied"),
        ] {
            let command = json!({"type": "sub", "pattern": pattern, "group": group});
            assert_eq!(client.code(command).await, expected, "{pattern} {group}");
        }
    });
}
