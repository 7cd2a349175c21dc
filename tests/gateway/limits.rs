//! The ranges of the limits: a gateway that no client could use is not built.

use std::time::Duration;

use serde_json::{Value, json};
use tramline::Bus;
use tramline::gateway::{Gateway, Limits};

use crate::client::{Server, all, run};

const TINY: Duration = Duration::from_micros(999);

/// The message of the error of `build`; "built" if there is none.
fn outcome(limits: Limits) -> String {
    match Gateway::builder(&Bus::<Value>::new()).limits(limits).build() {
        Ok(_) => "built".to_owned(),
        Err(error) => {
            assert!(error.is_invalid_limit(), "{error:?}");
            error.to_string()
        }
    }
}

#[test]
fn b47_a_limit_out_of_its_range_is_refused() {
    let usual = Limits::default;
    let refused = [
        (usual().capacity(0), "limit `capacity` must be between 1 and 16777216, got 0"),
        (usual().capacity((1 << 24) + 1), "limit `capacity` must be between 1 and 16777216, got 16777217"),
        (usual().frame(63), "limit `frame` must be at least 64, got 63"),
        (usual().topic(0), "limit `topic` must be at least 1, got 0"),
        (usual().commands_per_second(0), "limit `commands_per_second` must be at least 1, got 0"),
        (usual().connections(0), "limit `connections` must be at least 1, got 0"),
        (usual().connections_per_address(0), "limit `connections_per_address` must be at least 1, got 0"),
        (usual().waiting_bytes(1023), "limit `waiting_bytes` must be at least 1024, got 1023"),
        (usual().connect_within(Duration::ZERO), "limit `connect_within` must be at least 1ms, got 0ns"),
        (usual().ping_every(TINY), "limit `ping_every` must be at least 1ms, got 999µs"),
        (usual().pong_within(Duration::ZERO), "limit `pong_within` must be at least 1ms, got 0ns"),
        (usual().write_timeout(TINY), "limit `write_timeout` must be at least 1ms, got 999µs"),
        (usual().request_timeout(Duration::ZERO), "limit `request_timeout` must be at least 1ms, got 0ns"),
    ];
    for (limits, message) in refused {
        assert_eq!(outcome(limits), message);
    }
    assert!(outcome(usual().capacity(usize::MAX)).starts_with("limit `capacity` must be between 1 and 16777216"));
    let longest = Duration::MAX;
    let built = usual()
        .connect_within(longest)
        .ping_every(longest)
        .pong_within(longest)
        .write_timeout(longest)
        .publish_timeout(Duration::ZERO)
        .request_timeout(longest);
    assert_eq!(outcome(built), "built");
}

#[test]
fn b48_the_limits_at_the_ends_of_their_ranges_serve_a_client() {
    let least = Limits::default()
        .frame(64)
        .topic(1)
        .subscriptions(1)
        .capacity(1)
        .feeds(1)
        .feeds_per_address(1)
        .requests(1)
        .connections(1)
        .connections_per_address(1)
        .waiting_bytes(1024)
        .publish_timeout(Duration::ZERO);
    let most = Limits::default()
        .frame(usize::MAX)
        .topic(usize::MAX)
        .subscriptions(usize::MAX)
        .capacity(1 << 24)
        .feeds(usize::MAX)
        .feeds_per_address(usize::MAX)
        .requests(usize::MAX)
        .commands_per_second(u32::MAX)
        .connections(usize::MAX)
        .connections_per_address(usize::MAX)
        .connect_within(Duration::MAX)
        .ping_every(Duration::MAX)
        .pong_within(Duration::MAX)
        .write_timeout(Duration::MAX)
        .waiting_bytes(usize::MAX)
        .publish_timeout(Duration::MAX)
        .request_timeout(Duration::MAX);
    run(move || async move {
        for limits in [least, most] {
            let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
            let mut client = server.client().await;
            assert_eq!(client.code(json!({"type": "sub", "pattern": "a", "capacity": 1})).await, "ok");
            let delivery = server.bus.publish("a", json!(7)).expect("it is open");
            assert_eq!(delivery.delivered(), 1);
            assert_eq!(client.payload().await, 7);
            assert_eq!(client.code(json!({"type": "pub", "topic": "b", "payload": 1})).await, "ok");
            assert_eq!(client.code(json!({"type": "req", "topic": "c", "payload": 1})).await, "no_responders");
            client.leave().await;
            server.stop().await;
        }
    });
}

#[test]
fn b49_a_limit_of_0_allows_none() {
    run(|| async {
        let subscribe = json!({"type": "sub", "pattern": "a"});
        let usual = Limits::default;
        for limits in [usual().subscriptions(0), usual().feeds(0), usual().feeds_per_address(0)] {
            let server = Server::<Value>::start(|builder| all(builder).limits(limits)).await;
            let mut client = server.client().await;
            assert_eq!(client.code(subscribe.clone()).await, "too_many_subscriptions");
            assert_eq!(client.code(json!({"type": "ping"})).await, "ok");
        }
        let server = Server::<Value>::start(|builder| all(builder).limits(Limits::default().requests(0))).await;
        let mut client = server.client().await;
        assert_eq!(client.code(json!({"type": "req", "topic": "b", "payload": 1})).await, "too_many_requests");
        client.subscribe("a").await;
        // The client is asked, but cannot answer.
        let error = server.bus.request("a", json!(1)).expect("it is heard").await.unwrap_err();
        assert!(error.is_unanswered(), "{error:?}");
    });
}

#[test]
fn b50_a_pattern_that_is_not_valid_is_reported_with_its_list() {
    let bus = Bus::<Value>::new();
    let error = Gateway::builder(&bus).allow_subscribe("ok").allow_group("a..b").allow_publish("").build().unwrap_err();
    assert!(error.is_invalid_topic());
    let rule = tramline::Pattern::new("a..b").unwrap_err();
    assert_eq!(error.to_string(), format!("`allow_group`: {rule}"));
}
