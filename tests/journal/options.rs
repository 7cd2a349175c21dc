//! Opening a journal.

use tramline::{Bus, Overflow, SubscribeError};

use crate::support::within_limit;

#[test]
fn j11_opening_a_name_twice() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let open = || bus.journal("b.*").also("a.*").name("both");
        let one = open().open().unwrap();
        let two = bus.journal("a.*").also("b.*").also("a.*").name("both").open().unwrap();
        bus.publish("a.x", 1).unwrap();
        assert_eq!((one.len(), two.len(), bus.journals().len()), (1, 1, 1));
        let differs = |result: Result<tramline::Journal<u32>, SubscribeError>| {
            let error = result.unwrap_err();
            assert!(error.is_journal_mismatch());
            error.to_string()
        };
        let error = |option: &str| format!("cannot open journal `both`: its {option}");
        assert_eq!(differs(bus.journal("a.*").name("both").open()), error("pattern is a.*, b.*, not a.*"));
        assert_eq!(differs(open().capacity(8).open()), error("capacity is 65536, not 8"));
        assert_eq!(differs(open().overflow(Overflow::DropOldest).open()), error("overflow is Block, not DropOldest"));
        assert_eq!(differs(open().observer().open()), error("observer is false, not true"));
        assert_eq!(differs(open().filter(|_| true).open()), error("filter is absent, not present"));
        let filtered = || bus.journal("c").filter(|_| true).open();
        let _filtered = filtered().unwrap();
        assert_eq!(
            differs(filtered()),
            "cannot open journal `c`: its filter is a closure, not another, which cannot be compared"
        );
        assert_eq!(differs(bus.journal("c").open()), "cannot open journal `c`: its filter is present, not absent");
        drop((one, two));
        assert_eq!(open().capacity(8).open().unwrap().capacity(), 8);
    });
}

#[test]
fn j11_bad_options_are_errors_that_name_the_value() {
    within_limit(|| {
        let bus = Bus::<u32>::new();
        let error = |result: Result<tramline::Journal<u32>, SubscribeError>| result.unwrap_err().to_string();
        assert_eq!(error(bus.journal("a").capacity(0).open()), "capacity must be between 1 and 16777216, got 0");
        let too_large = usize::MAX;
        assert!(error(bus.journal("a").capacity(too_large).open()).ends_with(&too_large.to_string()));
        let newest = bus.journal("a").overflow(Overflow::DropNewest).open();
        assert_eq!(error(newest), "a journal cannot have the overflow policy DropNewest");
        assert!(bus.journal("a..b").open().unwrap_err().is_invalid_topic());
        assert!(bus.journal("a").also("").open().unwrap_err().is_invalid_topic());
        assert!(bus.journals().is_empty());
        bus.close();
        assert!(bus.journal("a").open().unwrap_err().is_closed());
        assert!(bus.find_journal("a").is_none());
    });
}

#[test]
fn j11_handles_go_to_other_threads() {
    fn goes_to_others<A: Send + Sync>() {}
    fn moves<A: Send>() {}
    goes_to_others::<tramline::Journal<u32>>();
    moves::<tramline::JournalReader<u32>>();
    moves::<tramline::OwnedEntry<u32>>();
    goes_to_others::<tramline::Entry<'static, u32>>();
    goes_to_others::<tramline::StartError>();
}

#[test]
fn j11_the_default_of_the_bus_is_not_that_of_a_journal() {
    within_limit(|| {
        let bus = Bus::<u32>::builder().capacity(4).overflow(Overflow::DropNewest).build();
        let journal = bus.journal("a").open().unwrap();
        assert_eq!(journal.capacity(), 65_536);
        assert_eq!(journal.patterns(), ["a"]);
        assert_eq!(format!("{journal:?}"), "Journal { name: \"a\", oldest_offset: 0, next_offset: 0, readers: 0, .. }");
    });
}
