//! Subjects: what is a topic, what is a pattern, and which pattern matches which topic.
#![allow(clippy::unwrap_used, reason = "tests")]

mod support;

use std::collections::HashMap;
use std::thread;

use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;
use support::naive;
use tramline::{Bus, InvalidToken, Pattern, Publisher, SubscribeError, Subscriber, Topic, TopicError};

/// Whether the pattern matches the topic: asked of the pattern, and of a bus in all ways to publish.
fn matches(pattern: &str, topic: &str) -> bool {
    let matches = Pattern::new(pattern).unwrap().matches(&Topic::new(topic).unwrap());
    let heard = usize::from(matches);
    // The bus looks a topic up that nobody has used; a publisher keeps what it found, and is told of changes.
    let (bus, standing) = (Bus::<u8>::new(), Bus::<u8>::new());
    let before = standing.publisher(topic).unwrap();
    let _subscribers = [&bus, &standing].map(|bus| bus.subscribe(pattern).unwrap());
    assert_eq!(bus.publish(topic, 1).unwrap().delivered(), heard, "{pattern} ~ {topic}, by the bus");
    let after = bus.publisher(topic).unwrap();
    assert_eq!(after.publish(2).unwrap().delivered(), heard, "{pattern} ~ {topic}, by a later publisher");
    assert_eq!(before.publish(3).unwrap().delivered(), heard, "{pattern} ~ {topic}, by an earlier publisher");
    matches
}

#[test]
fn s01_patterns_match() {
    for (pattern, topic) in [
        ("foo", "foo"),
        ("*", "foo"),
        (">", "foo"),
        (">", "foo.bar"),
        ("foo.>", "foo.bar"),
        ("stats.>", "stats.test.22"),
        ("stats.*.*", "stats.test.22"),
        ("stats.test.foos", "stats.test.foos"),
    ] {
        assert!(matches(pattern, topic), "{pattern} ~ {topic}");
    }
}

#[test]
fn s02_patterns_do_not_match() {
    for (pattern, topic) in [
        ("bar", "foo"),
        ("bar.>", "foo.bar"),
        ("foo", "foo.bar"),
        ("foo.bar", "foo"),
        ("stats.test.foo", "stats.test.foos"),
        ("stats.test.*", "stats.test"),
        ("stats.*", "stats.test.foos"),
        ("stats.*.*.foos", "stats.test.foos"),
        ("foo.>", "foo"),
    ] {
        assert!(!matches(pattern, topic), "{pattern} ~ {topic}");
    }
    // `>` does not match nothing, because nothing is no topic.
    assert_eq!(Topic::new(""), Err(TopicError::Empty));
}

#[test]
fn s03_wildcards_inside_tokens_are_literal() {
    for text in ["*bar", "foo*", "foo*bar", "foo.***.bar", ">bar", "foo>", "foo>bar", "foo.>>>.bar"] {
        assert!(matches(text, text), "{text} matches itself");
        assert!(Pattern::new(text).unwrap().is_literal(), "{text}");
        let other = text.replace(['*', '>'], "x");
        assert!(!matches(text, &other), "{text} does not match {other}");
    }
}

#[test]
fn s04_errors_name_the_invalid_token_and_its_position() {
    use InvalidToken::{Character, Empty, RestNotLast};
    // The text, which token is wrong counted from 1, the byte at which it begins, and why.
    let invalid_everywhere = [
        (".", 1, 0, Empty),
        (".foo", 1, 0, Empty),
        ("foo.", 2, 4, Empty),
        ("foo..bar", 2, 4, Empty),
        ("日本..bar", 2, 7, Empty),
        ("foo. bar", 2, 4, Character(' ')),
        ("foo.b\tr.baz", 2, 4, Character('\t')),
    ];
    let invalid_patterns = [(">.bar", 1, 0, RestNotLast), ("foo.>.bar", 2, 4, RestNotLast)];

    let wrong =
        |text: &str, token, position, reason| TopicError::Token { text: text.to_owned(), token, position, reason };
    for (text, token, position, reason) in invalid_everywhere {
        assert_eq!(Topic::new(text), Err(wrong(text, token, position, reason)));
    }
    for (text, token, position, reason) in invalid_everywhere.into_iter().chain(invalid_patterns) {
        let error = Pattern::new(text).unwrap_err();
        assert_eq!(error, wrong(text, token, position, reason));
        let told = error.to_string();
        assert!(told.contains(&format!("token {token} ")) && told.contains(&format!("byte {position},")), "{told}");
    }
    assert_eq!(Topic::new(""), Err(TopicError::Empty));
    assert_eq!(Pattern::new(""), Err(TopicError::Empty));
}

#[test]
fn s04_whitespace_and_control_characters_are_invalid() {
    let listed = [' ', '\t', '\n', '\r', '\0', '\u{7f}', '\u{85}', '\u{a0}', '\u{2028}', '\u{3000}'];
    let all = (char::MIN..=char::MAX).filter(|character| character.is_whitespace() || character.is_control());
    // Zero-width spaces: two topics that differ in one of these look the same.
    for character in listed.into_iter().chain(all).chain(['\u{200b}', '\u{feff}']) {
        let text = format!("foo.b{character}r");
        let wrong =
            TopicError::Token { text: text.clone(), token: 2, position: 4, reason: InvalidToken::Character(character) };
        assert_eq!(Topic::new(&text), Err(wrong.clone()));
        assert_eq!(Pattern::new(&text), Err(wrong));
    }
}

/// Persian and the scripts of India cannot be written without them.
#[test]
fn s05_zero_width_joiners_are_valid() {
    for text in ["می\u{200c}خواهم", "क्\u{200d}ष", "a\u{200c}b.c\u{200d}d"] {
        assert_eq!(Topic::new(text).expect("valid"), text);
        assert_eq!(Pattern::new(text).expect("valid"), text);
    }
}

#[test]
fn s04_every_operation_refuses_an_invalid_string() {
    let bus = Bus::<u8>::new();
    assert!(matches!(bus.publisher("foo..bar"), Err(TopicError::Token { token: 2, position: 4, .. })));
    assert!(bus.subscribe("foo..bar").unwrap_err().is_invalid_topic());
    assert!(matches!(
        bus.subscription("foo").also("foo.>.bar").open(),
        Err(SubscribeError::Topic(TopicError::Token { token: 2, position: 4, reason: InvalidToken::RestNotLast, .. }))
    ));
    for error in [
        bus.publish("foo..bar", 7).unwrap_err(),
        bus.try_publish("foo..bar", 7).unwrap_err(),
        bus.publish_timeout("foo..bar", 7, support::LONG).unwrap_err(),
        bus.publish_retained("foo..bar", 7).unwrap_err(),
    ] {
        assert!(error.is_invalid_topic());
        assert_eq!(error.into_inner(), 7);
    }
    assert_eq!(bus.request("foo..bar", 7).unwrap_err().into_inner(), 7);
    assert_eq!((bus.retained("foo..bar"), bus.clear_retained("foo..bar")), (None, None));
    assert_eq!((bus.stats().topics, bus.stats().subscriptions.len()), (0, 0));
}

#[test]
fn s05_valid_patterns_are_accepted() {
    for text in ["foo", "foo.bar.*", "foo.bar.>", "*", ">", "foo*", "foo.**", "foo>.bar", "Ünïcode.日本"] {
        let pattern = Pattern::new(text).unwrap();
        assert_eq!(pattern.as_str(), text);
        assert_eq!(Bus::<u8>::new().subscribe(text).unwrap().patterns(), [pattern]);
    }
}

#[test]
fn s06_patterns_with_wildcards_are_not_topics() {
    for (text, token, position) in [("foo.bar.*", 3, 8), ("foo.bar.>", 3, 8), ("*", 1, 0), (">", 1, 0)] {
        let wrong = TopicError::Token { text: text.to_owned(), token, position, reason: InvalidToken::Wildcard };
        assert_eq!(Topic::new(text), Err(wrong.clone()));
        assert_eq!(Topic::try_from(Pattern::new(text).unwrap()), Err(wrong));
        assert!(!Pattern::new(text).unwrap().is_literal());
    }
    for text in ["foo*", "foo.**", "foo>>"] {
        assert_eq!(Topic::new(text).unwrap().as_str(), text);
    }
}

#[test]
fn s07_is_subset_of_follows_the_wildcards() {
    let is_subset = |a, b| Pattern::new(a).unwrap().is_subset_of(&Pattern::new(b).unwrap());
    for (inner, outer) in [
        ("foo.bar", "foo.bar"),
        ("foo.bar", "*.*"),
        ("foo.bar", "foo.*"),
        ("foo.bar", ">"),
        ("foo.*", "foo.>"),
        ("foo.>", "*.>"),
        ("foo.>", ">"),
    ] {
        assert!(is_subset(inner, outer), "{inner} within {outer}");
    }
    for (inner, outer) in [("foo.*", "foo.bar"), ("foo.>", "foo.bar"), (">", "foo.>")] {
        assert!(!is_subset(inner, outer), "{inner} not within {outer}");
    }
}

#[test]
fn s08_overlaps_follows_the_wildcards() {
    let overlap = |a, b| {
        let (a, b) = (Pattern::new(a).unwrap(), Pattern::new(b).unwrap());
        assert_eq!(a.overlaps(&b), b.overlaps(&a), "{a} and {b}: the order does not matter");
        a.overlaps(&b)
    };
    for (a, b) in [("foo.*", "foo.foo"), ("foo.*", "*.foo"), ("foo.bar.>", "*.bar.foo")] {
        assert!(overlap(a, b), "{a} and {b}");
    }
    assert!(!overlap("foo.*", "foo.*.bar.>"));
}

/// Few tokens, so that matches are frequent; some hold wildcard characters without being wildcards.
fn any_topic() -> impl Strategy<Value = String> {
    prop::collection::vec(select(vec!["a", "b", "a*", ">>"]), 1..=4).prop_map(|tokens| tokens.join("."))
}

fn any_pattern() -> impl Strategy<Value = String> {
    let tokens = prop::collection::vec(select(vec!["a", "b", "a*", ">>", "*", "*"]), 0..=3);
    (tokens, select(vec!["a", "b", ">>", "*", ">", ">"])).prop_map(|(mut tokens, last)| {
        tokens.push(last);
        tokens.join(".")
    })
}

#[derive(Debug, Clone)]
enum Step {
    Subscribe(Vec<String>),
    Unsubscribe(Index),
    Publish(String),
    DropPublisher(Index),
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => prop::collection::vec(any_pattern(), 1..=3).prop_map(Step::Subscribe),
        2 => any::<Index>().prop_map(Step::Unsubscribe),
        6 => any_topic().prop_map(Step::Publish),
        1 => any::<Index>().prop_map(Step::DropPublisher),
    ]
}

/// A bus, and beside it what it ought to know.
struct Model {
    bus: Bus<u32>,
    subscriptions: Vec<(Vec<String>, Subscriber<u32>)>,
    publishers: HashMap<String, Publisher<u32>>,
    published: u32,
}

impl Model {
    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Subscribe(patterns) => {
                let mut builder = self.bus.subscription(&*patterns[0]);
                for pattern in &patterns[1..] {
                    builder = builder.also(&**pattern);
                }
                self.subscriptions.push((patterns, builder.open().unwrap()));
            }
            Step::Unsubscribe(index) if !self.subscriptions.is_empty() => {
                drop(self.subscriptions.swap_remove(index.index(self.subscriptions.len())));
            }
            Step::DropPublisher(index) if !self.publishers.is_empty() => {
                let topic = self.publishers.keys().nth(index.index(self.publishers.len())).unwrap().clone();
                self.publishers.remove(&topic);
            }
            Step::Unsubscribe(_) | Step::DropPublisher(_) => {}
            Step::Publish(topic) => self.publish(topic)?,
        }
        Ok(())
    }

    /// Publishes by the bus and by a publisher that stays, and looks at who got it.
    fn publish(&mut self, topic: String) -> Result<(), TestCaseError> {
        let by_bus = self.published;
        let by_publisher = by_bus + 1;
        self.published += 2;
        let heard = self.bus.publish(&*topic, by_bus).unwrap().delivered();
        let publisher = self.publishers.entry(topic.clone()).or_insert_with(|| self.bus.publisher(&*topic).unwrap());
        prop_assert_eq!(publisher.subscriber_count(), heard);
        prop_assert_eq!(publisher.publish(by_publisher).unwrap().delivered(), heard);

        let parsed = Topic::new(&*topic).unwrap();
        for (patterns, subscriber) in &self.subscriptions {
            for pattern in patterns {
                let matches = Pattern::new(pattern).unwrap().matches(&parsed);
                prop_assert_eq!(matches, naive::matches(pattern, &topic), "{} ~ {}", pattern, topic);
            }
            let wanted = patterns.iter().any(|pattern| naive::matches(pattern, &topic));
            let received: Vec<_> = subscriber.try_iter().map(|message| (*message, message.topic().clone())).collect();
            let expected =
                if wanted { vec![(by_bus, parsed.clone()), (by_publisher, parsed.clone())] } else { Vec::new() };
            prop_assert_eq!(received, expected, "{:?} ~ {}", patterns, topic);
        }
        Ok(())
    }
}

/// Every topic of up to four tokens, of which one is in no pattern.
fn small_universe() -> Vec<String> {
    let mut topics = vec![String::new()];
    let mut all = Vec::new();
    for _ in 0..4 {
        topics = topics
            .iter()
            .flat_map(|topic| ["a", "b", "other"].map(|token| [topic.as_str(), token].join(".")))
            .map(|topic| topic.trim_start_matches('.').to_owned())
            .collect();
        all.extend_from_slice(&topics);
    }
    all
}

/// Patterns of up to three tokens: longer topics than those of the small universe tell nothing more about them.
fn small_pattern() -> impl Strategy<Value = String> {
    let tokens = prop::collection::vec(select(vec!["a", "b", "*"]), 0..=2);
    (tokens, select(vec!["a", "b", "*", ">"])).prop_map(|(mut tokens, last)| {
        tokens.push(last);
        tokens.join(".")
    })
}

/// Any text at all, or one of few characters, which is valid more often.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ab*>é.]{0,12}",
        "[a*>. \n]{0,8}",
        "[a.*\u{200b}\u{200c}\u{200d}\u{2060}\u{feff}]{1,6}"
    ]
}

proptest! {
    // The same cases every time, and no files.
    #![proptest_config(ProptestConfig {
        cases: 1000,
        rng_seed: RngSeed::Fixed(9),
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn s09_trie_matcher_and_naive_matcher_agree(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut model =
            Model { bus: Bus::new(), subscriptions: Vec::new(), publishers: HashMap::new(), published: 0 };
        for step in steps {
            model.step(step)?;
        }
        model.subscriptions.clear();
        model.publishers.clear();
        let stats = model.bus.stats();
        prop_assert_eq!((stats.topics, stats.subscriptions.len(), stats.dropped), (0, 0, 0));
    }

    #[test]
    fn s09_subset_and_overlap_agree_with_enumeration(a in small_pattern(), b in small_pattern()) {
        let (pattern_a, pattern_b) = (Pattern::new(&a).unwrap(), Pattern::new(&b).unwrap());
        let found: Vec<_> =
            small_universe().iter().map(|topic| (naive::matches(&a, topic), naive::matches(&b, topic))).collect();
        let is_subset = found.iter().all(|(in_a, in_b)| !in_a || *in_b);
        let overlap = found.iter().any(|(in_a, in_b)| *in_a && *in_b);
        prop_assert_eq!(pattern_a.is_subset_of(&pattern_b), is_subset, "{} within {}", a, b);
        prop_assert_eq!(pattern_a.overlaps(&pattern_b), overlap, "{} and {}", a, b);
    }

    #[test]
    fn s09_a_string_is_refused_or_round_trips(text in any_text()) {
        let pattern = Pattern::new(&text);
        prop_assert_eq!(pattern.is_ok(), naive::is_pattern(&text));
        if let Ok(pattern) = &pattern {
            prop_assert_eq!(pattern.as_str(), &text);
            prop_assert_eq!(&pattern.to_string().parse::<Pattern>().unwrap(), pattern);
            prop_assert!(pattern.is_subset_of(pattern) && pattern.overlaps(pattern));
        }
        let topic = Topic::new(&text);
        let is_literal = pattern.as_ref().is_ok_and(Pattern::is_literal);
        prop_assert_eq!(topic.is_ok(), is_literal);
        if let Ok(topic) = topic {
            prop_assert_eq!(topic.as_str(), &text);
            prop_assert_eq!(topic.tokens().collect::<Vec<_>>().join("."), text.as_str());
            prop_assert_eq!(&topic.to_string().parse::<Topic>().unwrap(), &topic);
            prop_assert!(pattern.unwrap().matches(&topic));
            prop_assert_eq!(Topic::try_from(Pattern::from(&topic)), Ok(topic));
        }
    }
}

#[test]
fn s10_very_long_topics_are_refused_and_the_longest_work() {
    let many_tokens = |count: usize| vec!["t"; count].join(".");
    let Err(TopicError::TooManyTokens { tokens: 1000, limit: most_tokens }) = Topic::new(many_tokens(1000)) else {
        panic!("1,000 tokens are too many");
    };
    let Err(TopicError::TooLong { length: 65536, limit: most_bytes }) = Topic::new("t".repeat(65536)) else {
        panic!("64 KiB are too long");
    };
    assert!(Pattern::new(many_tokens(1000)).is_err() && Pattern::new("t".repeat(65536)).is_err());
    assert!(Topic::new(many_tokens(most_tokens + 1)).is_err() && Topic::new("t".repeat(most_bytes + 1)).is_err());

    // A small stack, so that a recursion that has no bound, or takes much, is seen.
    let small_stack = thread::Builder::new().stack_size(512 * 1024);
    let longest = small_stack.spawn(move || {
        let deepest = many_tokens(most_tokens);
        assert!(matches(&deepest, &deepest));
        assert!(matches(&vec!["*"; most_tokens].join("."), &deepest));
        assert!(matches(&format!("{}.>", vec!["*"; most_tokens - 1].join(".")), &deepest));
        assert!(matches(">", &"t".repeat(most_bytes)));
        assert!(!matches(&"t".repeat(most_bytes), &"t".repeat(most_bytes - 1)));
    });
    longest.unwrap().join().unwrap();
}
