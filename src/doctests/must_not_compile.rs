//! What the types must refuse, each with a twin that compiles.
//!
//! A payload has to be `Send`, it need not be `Sync`:
//!
//! ```compile_fail,E0277
//! let _ = tramline::Bus::<std::rc::Rc<u32>>::new();
//! ```
//!
//! ```
//! let _ = tramline::Bus::<std::cell::Cell<u32>>::new();
//! ```
//!
//! Unless it is to be kept in a journal, which many threads read at once:
//!
//! ```compile_fail,E0599
//! let _ = tramline::Bus::<std::cell::Cell<u32>>::new().journal("a");
//! ```
//!
//! ```
//! let _ = tramline::Bus::<u32>::new().journal("a");
//! ```
//!
//! An entry is borrowed from its reader, which can be asked for the next when it is let go:
//!
//! ```compile_fail,E0499
//! let bus = tramline::Bus::<u32>::new();
//! let mut reader = bus.journal("a").open().unwrap().reader(tramline::Start::Oldest).unwrap();
//! let one = reader.try_recv();
//! let two = reader.try_recv();
//! drop((one, two));
//! ```
//!
//! ```
//! let bus = tramline::Bus::<u32>::new();
//! let mut reader = bus.journal("a").open().unwrap().reader(tramline::Start::Oldest).unwrap();
//! let one = reader.try_recv().map(|entry| *entry);
//! let two = reader.try_recv().map(|entry| *entry);
//! drop((one, two));
//! ```
//!
//! A subscriber is one reader's: it cannot be cloned, a publisher can.
//!
//! ```compile_fail,E0599
//! let bus = tramline::Bus::<u32>::new();
//! let _ = bus.subscribe("a").unwrap().clone();
//! ```
//!
//! ```
//! let bus = tramline::Bus::<u32>::new();
//! let _ = bus.publisher("a").unwrap().clone();
//! ```
//!
//! A handler is stopped once:
//!
//! ```compile_fail,E0382
//! let bus = tramline::Bus::<u32>::new();
//! let handler = bus.on("a", |_| {}).unwrap();
//! let _ = handler.stop(std::time::Duration::ZERO);
//! let _ = handler.stop(std::time::Duration::ZERO);
//! ```
//!
//! ```
//! let bus = tramline::Bus::<u32>::new();
//! let handler = bus.on("a", |_| {}).unwrap();
//! let _ = handler.stop(std::time::Duration::ZERO);
//! ```
//!
//! Several workers share a closure, so it may not change what it captures:
//!
//! ```compile_fail,E0594
//! let bus = tramline::Bus::<u32>::new();
//! let mut sum = 0;
//! let _ = bus.subscription("a").workers(2).handle(move |n| sum += **n);
//! ```
//!
//! ```
//! let bus = tramline::Bus::<u32>::new();
//! let mut sum = 0;
//! let _ = bus.subscription("a").handle(move |n| sum += **n);
//! ```
//!
//! A subscription with workers is a handler's; there is no subscriber to open:
//!
//! ```compile_fail,E0599
//! let bus = tramline::Bus::<u32>::new();
//! let _ = bus.subscription("a").workers(2).open();
//! ```
//!
//! ```
//! let bus = tramline::Bus::<u32>::new();
//! let _ = bus.subscription("a").open();
//! ```
//!
//! A pending reply is waited for once; a timeout hands it back:
//!
//! ```compile_fail,E0382
//! let bus = tramline::Bus::<u32>::new();
//! let pending = bus.request("a", 1).unwrap();
//! let _ = pending.wait();
//! let _ = pending.wait();
//! ```
//!
//! ```no_run
//! let bus = tramline::Bus::<u32>::new();
//! let pending = bus.request("a", 1).unwrap();
//! let _ = pending.wait();
//! ```
//!
//! The kinds of a subscription can be named, not made:
//!
//! ```compile_fail,E0423
//! let _ = tramline::OneWorker(());
//! ```
//!
//! ```compile_fail,E0423
//! let _ = tramline::ManyWorkers(());
//! ```
//!
//! ```
//! let _: Option<(tramline::OneWorker, tramline::ManyWorkers)> = None;
//! ```
//!
//! A hub takes events and requests apart by their traits:
//!
//! ```compile_fail,E0277
//! # #[derive(Clone)] struct Ask;
//! # impl tramline::Request for Ask { type Reply = u32; const TOPIC: &'static str = "ask"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.publish(Ask);
//! ```
//!
//! ```compile_fail,E0277
//! # #[derive(Clone)] struct Ask;
//! # impl tramline::Request for Ask { type Reply = u32; const TOPIC: &'static str = "ask"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.on::<Ask>(|_| {});
//! ```
//!
//! ```
//! # #[derive(Clone)] struct Ask;
//! # impl tramline::Request for Ask { type Reply = u32; const TOPIC: &'static str = "ask"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.request(Ask);
//! let _ = hub.serve::<Ask>(|_| 1);
//! ```
//!
//! The closure of `serve` returns the reply of the request:
//!
//! ```compile_fail,E0308
//! # #[derive(Clone)] struct Ask;
//! # impl tramline::Request for Ask { type Reply = u32; const TOPIC: &'static str = "ask"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.serve::<Ask>(|_| "one");
//! ```
//!
//! A handler of a hub names one type, that of the message:
//!
//! ```compile_fail,E0107
//! # #[derive(Clone)] struct Told;
//! # impl tramline::Event for Told { const TOPIC: &'static str = "told"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.on::<Told, _>(|_| {});
//! ```
//!
//! ```
//! # #[derive(Clone)] struct Told;
//! # impl tramline::Event for Told { const TOPIC: &'static str = "told"; }
//! let hub = tramline::Hub::new();
//! let _ = hub.on::<Told>(|_| {});
//! let _ = hub.on::<Told>(|_| Err("no"));
//! ```
